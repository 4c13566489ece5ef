"""``cirrus iam``: print who has to be allowed what."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

from cirrus.cli.output import print_json
from cirrus.cli.reaching import described, partition_of, reached
from cirrus.clock import SystemClock
from cirrus.deploy.account import Account
from cirrus.deploy.deployment import Deployment
from cirrus.deploy.places import Place, checked_account
from cirrus.deploy.policies import Document, deployer, driver, shards, trust, worker
from cirrus.errors import PipelineError

MEANING = {
    "worker": "what the function may: the policy of its role",
    "driver": "what whoever runs pipelines may",
    "shards": "what a driver with Ec2Shards may besides",
    "deployer": "what cirrus deploy, destroy and doctor need",
    "trust": "who takes the function's role",
}

BESIDES = 'a driver with Ec2Shards needs ec2:DescribeInstances besides, which AWS grants on "*" or not at all'


async def iam(arguments: Namespace) -> None:
    """Print all policies, or one of them."""
    deployment = await described(arguments)
    if arguments.who == "shards" and arguments.ec2_shards is None:
        raise PipelineError("--ec2-shards", None, "the role that the hosts' instance profile has")
    found = _documents(deployment, await _place(arguments, deployment), arguments.ec2_shards)
    if arguments.who:
        print(json.dumps(found[arguments.who], indent=None if arguments.json else 2))
    elif arguments.json:
        print_json(found)
    else:
        print("\n\n".join(f"# {who}: {MEANING[who]}\n{json.dumps(one, indent=2)}" for who, one in found.items()))
    if arguments.who in {None, "shards"} and "shards" in found:
        print(BESIDES, file=sys.stderr)


def _documents(deployment: Deployment, place: Place, hosts: str | None) -> dict[str, Document]:
    """The policies by whose they are; ``hosts`` is the role of hosts for shards, if there are to be any."""
    return {
        "worker": worker(deployment, place),
        "driver": driver(deployment, place),
        **({} if hosts is None else {"shards": shards(deployment, place, hosts)}),
        "deployer": deployer(deployment, place),
        "trust": trust(),
    }


async def _place(arguments: Namespace, deployment: Deployment) -> Place:
    """The place of the account that was named, for which nobody is asked, or that of the credentials."""
    if arguments.account is not None:
        return Place(await partition_of(deployment.region), deployment.region, checked_account(arguments.account))
    async with reached(arguments, deployment) as services:
        return await Account(services, SystemClock()).place()
