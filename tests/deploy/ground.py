"""An account to deploy to: Lambda from the emulator, all else from moto; and bundles that are quickly made."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
from aiobotocore.session import AioSession

from cirrus.bundle.building import MANIFEST
from cirrus.bundle.packing import hashes, pack
from cirrus.clock import SystemClock
from cirrus.deploy.account import Account
from cirrus.deploy.apply import Change
from cirrus.deploy.deployment import Deployment
from cirrus.deploy.services import Endpoints, Service, Services, services, session_of_all
from cirrus.deploy.stamps import Stamp, stamp_here
from cirrus.emulator.emulator import Emulator, Options, emulator
from cirrus.store.sigv4 import Credentials
from tests.deploy.moto_server import ACCOUNT

REGION = "us-west-2"
KEYS = Credentials("an-access-key", "a-secret-key-of-tests")
STAMP = Stamp("1.2.3", "0123456789abcdef")
HANDLER = "def handler(event, context):\n    return event\n"


def bundle(source: str = HANDLER, **manifest: object) -> bytes:
    """A zip that is built like a bundle, with next to nothing in it."""
    files = {"lambda_handler/__init__.py": b"", "lambda_handler/handler.py": source.encode()}
    told = {
        "format": 1, "version": stamp_here().version, "python": "3.11", "architecture": "x86_64",
        "handler": "lambda_handler.handler.handler", "files": hashes(files), **manifest,
    }  # fmt: skip
    return pack({**files, MANIFEST: json.dumps(told).encode()})


class Hasty(SystemClock):
    """A clock on which waiting takes a part of the time."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 50)


@dataclass(frozen=True)
class Ground:
    """Where tests deploy to, as themselves."""

    moto: str
    lambdas: Emulator
    services: Services

    @property
    def account(self) -> Account:
        return Account(self.services, Hasty())

    @property
    def endpoints(self) -> Endpoints:
        return endpoints(self.moto, self.lambdas.endpoint)

    async def ask(self, service: Service, method: str, **parameters: object) -> Any:
        return await self.services.ask(service, method, **parameters)

    async def deploy(self, deployment: Deployment, code: bytes, *, dry: bool = False) -> list[Change]:
        found = self.account.deploy(deployment, code, STAMP, dry=dry)
        return [change async for change in found]

    async def destroy(self, deployment: Deployment, *, data: bool = False, dry: bool = False) -> list[Change]:
        return [change async for change in self.account.destroy(deployment, data=data, dry=dry)]


@cache
def session() -> AioSession:
    """One for all tests: to read what it knows takes longer than most of them."""
    return session_of_all()


def endpoints(moto: str, lambdas: str) -> Endpoints:
    return {"sts": moto, "s3": moto, "iam": moto, "logs": moto, "lambda": lambdas}


def environment(keys: Credentials = KEYS) -> Mapping[str, str]:
    """Variables with keys that the emulator accepts, and without those of the machine."""
    return {
        "AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }  # fmt: skip


@asynccontextmanager
async def ground(moto: str, patch: pytest.MonkeyPatch, options: Options | None = None) -> AsyncIterator[Ground]:
    options = replace(options or Options(), region=REGION, account=ACCOUNT, credentials=KEYS, preload=("json",))
    for name, value in environment().items():
        patch.setenv(name, value)
    async with emulator(options) as lambdas, services(REGION, endpoints(moto, lambdas.endpoint), session()) as found:
        yield Ground(moto, lambdas, found)
