"""TLS between a run's processes: a server shows a certificate, and clients trust one authority and nobody else."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from tempfile import NamedTemporaryFile

from cirrus.errors import WireError


@dataclass(frozen=True, slots=True)
class Identity:
    """A server's certificate, with those between it and the authority if there are any, and its key; both PEM."""

    certificate: str
    key: str = field(repr=False)


def server_side(identity: Identity) -> ssl.SSLContext:
    """What a server with that identity listens with; ``WireError`` where it is none.

    For a moment certificate and key stand in a file that only this user may read, since the library takes files only.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with NamedTemporaryFile("w", prefix="cirrus-", suffix=".pem", encoding="ascii") as file:
        try:
            file.write(identity.key + "\n" + identity.certificate)
            file.flush()
            context.load_cert_chain(file.name)
        except (ssl.SSLError, UnicodeError) as error:
            raise WireError("the certificate and key cannot be read, or do not belong together") from error
    return context


def client_side(ca: str) -> ssl.SSLContext:
    """What a client connects with that trusts the authorities in that PEM text only; ``WireError`` where it is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cadata=ca)
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise WireError("the certificate of the authority cannot be read") from error
    return context
