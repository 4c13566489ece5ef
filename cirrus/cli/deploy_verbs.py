"""The verbs for what is deployed to AWS: their options, and the values that these stand for."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import MISSING, fields

from cirrus.deploy.deployment import Deployment
from cirrus.errors import PipelineError
from cirrus.store.s3_address import S3Address

Verb = Callable[..., ArgumentParser]

VERBS = {
    "deploy": "cirrus.cli.deploying:deploy",
    "destroy": "cirrus.cli.deploying:destroy",
    "iam": "cirrus.cli.granting:iam",
    "doctor": "cirrus.cli.doctoring:doctor",
}

DEFAULTS = {one.name: one.default for one in fields(Deployment) if one.default is not MISSING}
WHO = ("worker", "driver", "shards", "deployer", "trust")
TEMPLATES = ("sam", "cloudformation", "terraform")


def add(verb: Verb) -> None:
    """Make the parsers of all of them."""
    _deploy(verb("deploy", "make the function, and what it needs, in an AWS account", stored=False))
    _destroy(verb("destroy", "remove what cirrus deploy has made", stored=False))
    _iam(verb("iam", "print who has to be allowed what, as IAM policies", stored=False))
    _doctor(verb("doctor", "look at all that a run on AWS needs, and say what is missing", stored=False))


def _deploy(made: ArgumentParser) -> None:
    _names(made)
    _rights(made)
    _settings(made)
    made.add_argument("--bundle", metavar="FILE", help="what cirrus bundle has built (built now)")
    what = "a package that your own model needs; may be repeated"
    made.add_argument("--with", dest="packages", action="append", default=[], metavar="PACKAGE", help=what)
    what = "a folder or Python file of your own to import; may be repeated"
    made.add_argument("--source", dest="sources", action="append", default=[], metavar="PATH", help=what)
    what = "only print a template: sam, cloudformation or terraform"
    made.add_argument("--template", choices=TEMPLATES, metavar="KIND", help=what)
    made.add_argument("--dry-run", action="store_true", help="only say what would be done")
    _endpoints(made)


def _destroy(made: ArgumentParser) -> None:
    _names(made)
    made.add_argument("--data", action="store_true", dest="emptied", help="remove all data of the bucket, too")
    made.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    _endpoints(made)


def _iam(made: ArgumentParser) -> None:
    made.add_argument("who", nargs="?", choices=WHO, metavar="WHO", help=f"one of {', '.join(WHO)} (all)")
    _names(made)
    _rights(made)
    made.add_argument("--account", metavar="DIGITS", help="the account (that of the credentials)")
    what = "print also what a driver with Ec2Shards may, whose hosts' instance profile has that role"
    made.add_argument("--ec2-shards", metavar="ROLE", help=what)
    _endpoints(made)


def _doctor(made: ArgumentParser) -> None:
    _names(made)
    made.add_argument("--workers", type=int, default=1, metavar="N", help="how many are to work at a time (1)")
    what = "a host of shards elsewhere, as wss://host:port; may be repeated"
    made.add_argument("--shard", dest="shards", action="append", default=[], metavar="URL", help=what)
    made.add_argument("--shard-ca", metavar="FILE", help="their authorities (CIRRUS_SHARD_CA)")
    _endpoints(made)


def _names(made: ArgumentParser) -> None:
    made.add_argument("--bucket", required=True, metavar="NAME", help="the bucket for the objects of runs")
    what = "the bucket is there and is used as it is"
    made.add_argument("--existing-bucket", dest="own_bucket", action="store_false", help=what)
    _option(made, "prefix", "KEY", "below which key they are")
    _option(made, "function", "NAME", "the function")
    _option(made, "region", "NAME", "the region (that of the environment or the profile)")
    _option(made, "role", "NAME", "the function's role (<function>-<region>)")
    _option(made, "log_group", "NAME", "where its logs go (/aws/lambda/<function>)")


def _rights(made: ArgumentParser) -> None:
    what = "data that functions may read besides, s3://bucket/prefix; may be repeated"
    made.add_argument("--read", dest="data", action="append", default=[], metavar="URL", help=what)
    _option(made, "kms_key", "ARN", "the key that objects are encrypted with (one of S3's)")


def _settings(made: ArgumentParser) -> None:
    _option(made, "memory", "MB", "the function's memory")
    _option(made, "timeout", "SECONDS", "how long an invocation may take")
    _option(made, "disk", "MB", "the function's own disk")
    _option(made, "python", "VERSION", "3.11, 3.12 or 3.13")
    _option(made, "architecture", "NAME", "x86_64 or arm64")
    _option(made, "concurrency", "N", "reserve so many executions, and have no more (as many as the account has)")
    _option(made, "retention", "DAYS", "how long logs are kept")
    _option(made, "abandoned", "DAYS", "after how long unfinished uploads are removed")
    what = "a tag for everything that is made; may be repeated"
    made.add_argument("--tag", dest="tags", action="append", default=[], metavar="NAME=VALUE", help=what)


def _endpoints(made: ArgumentParser) -> None:
    what = "another server that speaks as AWS does, for all of sts, s3, iam, lambda, logs or for one; may be repeated"
    made.add_argument("--endpoint", dest="endpoints", action="append", default=[], metavar="[SERVICE=]URL", help=what)


def _option(made: ArgumentParser, name: str, metavar: str, what: str) -> None:
    """An option for a field of ``Deployment``, whose default it has."""
    default = DEFAULTS.get(name)
    number = isinstance(default, int) or name == "concurrency"
    made.add_argument(
        f"--{name.replace('_', '-')}", type=int if number else str, metavar=metavar,
        help=f"{what} ({default})" if default else what,
    )  # fmt: skip


def deployment_of(arguments: Namespace, region: str | None) -> Deployment:
    """The deployment that the words describe, in that region; ``PipelineError``."""
    known = {one.name for one in fields(Deployment)}
    given = {name: value for name, value in vars(arguments).items() if name in known and value is not None}
    if region is None:
        raise PipelineError("region", None, "--region, AWS_REGION, or a profile that has one")
    given["region"] = region
    given["data"] = tuple(given.get("data", ()))
    given["tags"] = dict(_pair("--tag", one) for one in given.get("tags", ()))
    return Deployment(**given)


def endpoints_of(arguments: Namespace, services: tuple[str, ...]) -> dict[str, str]:
    """The URL of each service that is not to be AWS's; ``PipelineError``."""
    found: dict[str, str] = {}
    for text in arguments.endpoints:
        service, _, url = text.rpartition("=")
        if service and service not in services:
            raise PipelineError("--endpoint", text, f"a URL, perhaps after one of {', '.join(services)} and =")
        S3Address(arguments.bucket, endpoint=url)
        found |= dict.fromkeys(services if not service else (service,), url)
    return found


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise PipelineError(option, text, "NAME=VALUE")
    return name, value
