"""From the URL of a store to the store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from cirrus.errors import PipelineError
from cirrus.store.base import ObjectStore
from cirrus.store.files import FilesStore
from cirrus.store.manners import Begin, keep_up
from cirrus.store.s3 import S3Store
from cirrus.store.s3_address import ALLOWED as ALLOWED_ON_S3

ALLOWED = f"file:///an/absolute/folder or {ALLOWED_ON_S3}"


def open_store(url: str, begin: Begin = keep_up) -> ObjectStore:
    """The store at ``url``, which the caller has to close; nothing is read or made yet.

    ``begin`` is what each thread of it does first, if it has any. ``PipelineError`` names what is allowed.
    """
    if url.startswith("s3:"):
        return S3Store.from_url(url)
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise PipelineError("store", url, ALLOWED) from error
    match parts.scheme:
        case "file" if parts.netloc in {"", "localhost"} and not parts.query and not parts.fragment:
            path = unquote(parts.path)
            if path.startswith("/") and "\0" not in path:
                return FilesStore(Path(path), begin)
        case _:
            pass
    raise PipelineError("store", url, ALLOWED)
