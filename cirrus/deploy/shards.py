"""Whether a shard answers."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import aiohttp

from cirrus.errors import PipelineError

SECONDS = 10.0
_SCHEMES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}


async def unreachable(url: str) -> str | None:
    """Why the shard at that URL cannot be reached from here; ``None`` where it answers."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname or "@" in parts.netloc:
        raise PipelineError("doctor.shard", url, "a shard's URL, as wss://host:port")
    health = urlunsplit((_SCHEMES[parts.scheme], parts.netloc, f"{parts.path.rstrip('/')}/healthz", "", ""))
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(health) as answer:
            return None if answer.status == 200 else f"it answers with status {answer.status}"
    except TimeoutError:
        return f"no answer within {SECONDS:g} s"
    except (aiohttp.ClientError, OSError) as error:
        return str(error) or type(error).__name__
