"""What the function of workers on an emulator is called, and the keys that requests to it, and its workers, have."""

from __future__ import annotations

import secrets

from cirrus.cloud.lambda_invoker import own_credentials
from cirrus.store.sigv4 import Credentials

NAME = "cirrus-worker"
"""What the function is called."""

ROLE = "arn:aws:iam::000000000000:role/cirrus-worker"


def new_keys() -> Credentials:
    """A pair that only those know who are told."""
    return Credentials(f"EMULATED{secrets.token_hex(6).upper()}", secrets.token_urlsafe(30))


async def role_for(store: str) -> dict[str, str]:
    """The variables by which workers reach the store at that URL: a function's role has no keys of its own here."""
    found = await own_credentials() if store.startswith("s3:") else None
    if found is None:
        return {}
    token = {"AWS_SESSION_TOKEN": found.token} if found.token else {}
    return {"AWS_ACCESS_KEY_ID": found.access_key, "AWS_SECRET_ACCESS_KEY": found.secret_key, **token}
