"""How commands reach AWS, or the servers that stand in for it."""

from __future__ import annotations

import importlib
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from cirrus.cli.deploy_verbs import deployment_of, endpoints_of
from cirrus.deploy.deployment import Deployment
from cirrus.store.aside import aside

if TYPE_CHECKING:
    from cirrus.deploy.services import Services

_SERVICES = "cirrus.deploy.services"
"""The module that loads the SDK, by name: half a second that nobody pays who does not need it."""


async def described(arguments: Namespace) -> Deployment:
    """The deployment that the words describe, in the region of the environment or the profile where none is named."""
    if arguments.region:
        return deployment_of(arguments, arguments.region)
    module = await _loaded()
    return deployment_of(arguments, await aside(module.region_here))


async def partition_of(region: str) -> str:
    """The part of AWS that the region belongs to, ``aws`` for most."""
    module = await _loaded()
    partition: str = await aside(lambda: module.partition_of(region))
    return partition


@asynccontextmanager
async def reached(arguments: Namespace, deployment: Deployment) -> AsyncIterator[Services]:
    """Clients of the services, at the endpoints that were given."""
    module = await _loaded()
    endpoints = endpoints_of(arguments, module.SERVICES)
    async with module.services(deployment.region, endpoints) as found:
        yield found


async def _loaded() -> Any:
    return await aside(lambda: importlib.import_module(_SERVICES))
