"""An authority of a run's own, or of a host's: it signs certificates for shards, and lives as long as its object.

This module needs the package ``cryptography``: ``cirrus-serverless[shards]``. Making keys computes: not on the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from cirrus.wire.tls import Identity

SKEW = timedelta(days=1)
"""By how much the clock of who looks at a certificate may be behind that of who made it."""


class Authority:
    """Signs certificates for servers; ``ca`` is its own, in PEM.

    ``now`` is in seconds since the Unix epoch; what it signs is good for so many days.
    """

    def __init__(self, name: str, now: float, days: float) -> None:
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64])])
        self._now = datetime.fromtimestamp(now, UTC)
        self._days = timedelta(days=days)
        self._key = _new_key()
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        built = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, 0), critical=True)
        self.ca = self._signed(built.add_extension(usage, critical=True))

    def identity(self, names: Sequence[str]) -> Identity:
        """A certificate for a server that is reached by those names or addresses, and its key."""
        key = _new_key()
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cirrus shard")])
        built = (
            self._builder(subject, key)
            .add_extension(x509.SubjectAlternativeName([_general(one) for one in names]), critical=False)
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        )
        form = serialization.PrivateFormat.PKCS8
        words = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        return Identity(self._signed(built), words.decode())

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        signer = self._key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - SKEW)
            .not_valid_after(self._now + self._days)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
        )

    def _signed(self, builder: x509.CertificateBuilder) -> str:
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
