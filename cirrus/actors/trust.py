"""How the driver and workers see to it that a shard is the run's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import ClientConnectorCertificateError, ClientSession, TCPConnector

from cirrus.errors import Untrusted
from cirrus.wire.tls import client_side


def trusting(ca: str) -> ClientSession:
    """A session that trusts the authority of that PEM text only; where it is empty, shards have no certificates."""
    return ClientSession(connector=TCPConnector(ssl=client_side(ca))) if ca else ClientSession()


@contextmanager
def certain(shard: str) -> Iterator[None]:
    """Where the shard at that URL shows a certificate that is not trusted: ``Untrusted``."""
    try:
        yield
    except ClientConnectorCertificateError as error:
        raise Untrusted(shard, str(error.certificate_error)) from error
