"""``cirrus doctor``: look at all that a run on AWS needs, and say what is missing and what to do about it."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from cirrus import checks
from cirrus.cli.output import print_json
from cirrus.cli.reaching import described, reached
from cirrus.clock import SystemClock
from cirrus.deploy.doctor import Doctor, Finding, Wants
from cirrus.deploy.stamps import stamp_here
from cirrus.errors import OutsideError
from cirrus.store.aside import aside

SIGNS = {"fine": "ok", "wrong": "MISSING", "unknown": "?"}


async def doctor(arguments: Namespace) -> None:
    """Look at everything; ``OutsideError`` where something is missing."""
    checks.integer("doctor.workers", arguments.workers, 1, 1_000_000)
    deployment = await described(arguments)
    wants = Wants(arguments.workers, await aside(stamp_here), tuple(arguments.shards), arguments.shard_ca)
    found: list[Finding] = []
    async with reached(arguments, deployment) as services:
        async for finding in Doctor(services, deployment, wants, SystemClock()).findings():
            found.append(finding)
            if not arguments.json:
                _print(finding)
    wrong = [one.name for one in found if one.state == "wrong"]
    if arguments.json:
        print_json({"checks": [asdict(one) for one in found], "missing": wrong})
    if wrong:
        raise OutsideError(f"{len(wrong)} of {len(found)} are not as a run needs them: {', '.join(wrong)}")


def _print(finding: Finding) -> None:
    print(f"{SIGNS[finding.state]:<7}  {finding.name}: {finding.found}", flush=True)
    if finding.remedy and finding.state != "fine":
        print(f"{'':<7}  -> {finding.remedy}", flush=True)
