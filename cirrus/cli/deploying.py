"""``cirrus deploy`` and ``cirrus destroy``: make a function with what it needs in an account, and remove it again."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cirrus.bundle.building import MOST_ZIP, Wish
from cirrus.bundle.cache import cached
from cirrus.cli.output import print_json
from cirrus.cli.reaching import described, reached
from cirrus.clock import SystemClock
from cirrus.deploy.account import Account
from cirrus.deploy.apply import Change
from cirrus.deploy.deployment import Deployment
from cirrus.deploy.stamps import Stamp, read_manifest, stamp_here, stamp_of
from cirrus.deploy.templates import template
from cirrus.errors import PipelineError
from cirrus.store.aside import aside

DONE = {"create": "created", "set": "set", "remove": "removed", "keep": "kept"}
WOULD = {"create": "would create", "set": "would set", "remove": "would remove", "keep": "would keep"}


@dataclass(frozen=True, slots=True)
class Code:
    """A bundle: its bytes and its stamp."""

    data: bytes
    stamp: Stamp


async def deploy(arguments: Namespace) -> None:
    """Make what is missing, set what differs, upload the code where it is another; or print a template."""
    deployment = await described(arguments)
    if arguments.template:
        await _print_template(arguments, deployment)
        return
    deployment, code = await _code(arguments, deployment)
    async with reached(arguments, deployment) as services:
        account = Account(services, SystemClock())
        changes = account.deploy(deployment, code.data, code.stamp, dry=arguments.dry_run)
        await _show(changes, arguments, f"nothing to do: function {deployment.function} is as it should be")


async def destroy(arguments: Namespace) -> None:
    """Remove what was deployed, and only that."""
    deployment = await described(arguments)
    async with reached(arguments, deployment) as services:
        account = Account(services, SystemClock())
        changes = account.destroy(deployment, data=arguments.emptied, dry=arguments.dry_run)
        await _show(
            changes, arguments, f"nothing to do: function {deployment.function} is not there, nor what it needs"
        )


async def _show(changes: AsyncIterator[Change], arguments: Namespace, nothing: str) -> None:
    """Tell each change when it is done, or all of them as one object."""
    words, told = WOULD if arguments.dry_run else DONE, []
    async for change in changes:
        told.append(asdict(change))
        if not arguments.json:
            detail = f": {change.detail}" if change.detail else ""
            print(f"{words[change.action]:<{max(map(len, words.values()))}}  {change.thing}{detail}", flush=True)
    if arguments.json:
        print_json({"dry_run": arguments.dry_run, "changes": told})
    elif not told:
        print(nothing)


async def _code(arguments: Namespace, deployment: Deployment) -> tuple[Deployment, Code]:
    """The bundle, built now or from a file; what it was built for is what the function gets."""
    if arguments.bundle is None:
        packages, sources = tuple(arguments.packages), tuple(map(Path, arguments.sources))
        wish = Wish(deployment.python, deployment.architecture, packages, sources)
        print("taking the bundle, or building it, which takes some seconds", file=sys.stderr, flush=True)
        data = await aside(lambda: cached(wish))
    else:
        data = await aside(Path(arguments.bundle).read_bytes)
    if len(data) > MOST_ZIP:
        raise PipelineError("deploy.bundle", f"{len(data) / 2**20:.1f} MiB", f"at most {MOST_ZIP / 2**20:g} MiB")
    manifest = await aside(lambda: read_manifest(data))
    fitting = replace(deployment, python=manifest["python"], architecture=manifest["architecture"])
    return fitting, Code(data, stamp_of(manifest))


async def _print_template(arguments: Namespace, deployment: Deployment) -> None:
    path = arguments.bundle or f"cirrus-{deployment.python}-{deployment.architecture}.zip"
    stamp = await aside(stamp_here)
    if arguments.bundle is not None:
        deployment, code = await _code(arguments, deployment)
        stamp = code.stamp
    text = template(arguments.template, deployment, stamp, path)
    if arguments.json:
        print_json({"kind": arguments.template, "template": text})
    else:
        print(text, end="")
