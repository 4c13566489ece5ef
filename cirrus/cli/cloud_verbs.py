"""The verbs for functions in a cloud: what may be typed after each, and what it calls."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable

from cirrus.cli import deploy_verbs, shard_verbs

Verb = Callable[..., ArgumentParser]
"""Makes the parser of a verb from its name and what it does; ``stored=False`` where it has no use for a store."""

VERBS = {
    "bundle": "cirrus.cli.bundling:bundle",
    "emulate": "cirrus.cli.emulating:emulate",
    **deploy_verbs.VERBS,
    **shard_verbs.VERBS,
    "prices": "cirrus.cli.pricing:prices",
    "estimate": "cirrus.cli.estimating:estimate_file",
}


def add(verb: Verb) -> None:
    """Make the parsers of all of them."""
    made = verb("bundle", "build the zip that serverless functions run", stored=False)
    made.add_argument("--output", metavar="FILE", help="the file to write (cirrus-<python>-<architecture>.zip)")
    made.add_argument("--python", default="3.11", metavar="VERSION", help="3.11, 3.12 or 3.13 (3.11)")
    made.add_argument("--architecture", default="x86_64", metavar="NAME", help="x86_64 or arm64 (x86_64)")
    what = "a package that your own model needs, as pip calls it; may be repeated"
    made.add_argument("--with", dest="packages", action="append", default=[], metavar="PACKAGE", help=what)
    what = "a folder or Python file of your own to import; may be repeated"
    made.add_argument("--source", dest="sources", action="append", default=[], metavar="PATH", help=what)
    _emulate(verb)
    deploy_verbs.add(verb)
    shard_verbs.add(verb)
    _prices(verb)
    _estimate(verb)


def _emulate(verb: Verb) -> None:
    made = verb("emulate", "serve Lambda and S3 on this machine until Ctrl-C, as AWS would", stored=False)
    made.add_argument("--port", type=int, default=0, metavar="N", help="where Lambda listens (a free port)")
    made.add_argument("--folder", metavar="PATH", help="where S3 keeps its objects (a temporary folder)")
    made.add_argument("--region", metavar="NAME", default="us-east-1", help="the region that it is (us-east-1)")
    made.add_argument("--memory", type=int, default=1024, metavar="MB", help="what the function has (1024)")
    made.add_argument("--timeout", type=int, default=900, metavar="SECONDS", help="what the function has (900)")
    made.add_argument("--concurrency", type=int, default=1000, metavar="N", help="executions at a time (1000)")
    what = "a folder or Python file of your own for the bundle; may be repeated"
    made.add_argument("--source", dest="sources", action="append", default=[], metavar="PATH", help=what)
    what = "what goes wrong by chance: throttle, lose, duplicate, late or crash, as lose=0.1; may be repeated"
    made.add_argument("--fault", dest="faults", action="append", default=[], metavar="KIND=CHANCE", help=what)
    made.add_argument("--seed", type=int, default=0, metavar="N", help="which chance (0)")


def _prices(verb: Verb) -> None:
    made = verb("prices", "print what AWS takes, by region", stored=False)
    made.add_argument("--region", metavar="NAME", help="only that region")
    made.add_argument("--refresh", action="store_true", help="ask AWS for the region's newest prices, and keep them")
    made.add_argument("--url", metavar="URL", help="the server to ask in place of AWS's price list")


def _estimate(verb: Verb) -> None:
    made = verb("estimate", "say what a run would cost and take, after trying a little of it here", stored=False)
    made.add_argument("file", metavar="FILE[:NAME]", help="the file, and the pipeline's name in it (pipeline)")
    change = "change a setting, such as train.workers=8"
    made.add_argument("--set", action="append", default=[], metavar="STAGE.FIELD=VALUE", help=change)
    how = "what to try it on: processes, or functions of the emulator (local)"
    made.add_argument("--on", choices=("local", "emulator"), default="local", help=how)
    made.add_argument("--region", metavar="NAME", help="where functions would run (AWS_REGION, or us-east-1)")
    made.add_argument("--architecture", default="x86_64", metavar="NAME", help="x86_64 or arm64 (x86_64)")
    made.add_argument("--memory", type=int, default=1769, metavar="MB", help="what each function would have (1769)")
