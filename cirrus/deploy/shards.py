"""Whether the host of shards elsewhere answers, and is who it should be."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout

from cirrus.cloud.hosts import base_url
from cirrus.cloud.served import CA, PORT, ServedShards
from cirrus.errors import WireError
from cirrus.store.aside import aside
from cirrus.wire.tls import client_side

SECONDS = 10.0


async def unreachable(url: str, ca: str | None) -> str:
    """Why the host at that URL (``wss://host:port``) cannot be used from here; empty where it can.

    ``ca`` is the file with the authorities that may have signed its certificate (``None``: that of the environment).
    """
    ServedShards((url,))
    parts, file = urlsplit(url), ca or os.environ.get(CA)
    if not file:
        return f"nobody knows whose certificate to trust: neither --shard-ca nor {CA} names a file"
    try:
        text = await aside(lambda: Path(file).read_text(encoding="ascii"))
        trusted = client_side(text)
    except (OSError, UnicodeError, WireError) as error:
        return f"{file} cannot be read: {error}"
    health = f"{base_url(parts.hostname or '', parts.port or PORT)}/healthz"
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=SECONDS)) as session,
            session.get(health, ssl=trusted) as answer,
        ):
            return "" if answer.status == 200 else f"it answers with status {answer.status}"
    except (ClientError, OSError) as error:
        return str(error) or type(error).__name__
