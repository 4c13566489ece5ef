"""The command ``cirrus``, also ``python -m cirrus``."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from cirrus.cli import cloud_verbs, places
from cirrus.cli.output import DONE, FAILED, INTERRUPTED, OUTSIDE, WRONG, complain
from cirrus.errors import OutsideError, PipelineError, RunError

EPILOG = (
    f"exit codes: {DONE} done, {WRONG} wrong usage or pipeline, {FAILED} the run failed, "
    f"{OUTSIDE} something outside failed, {INTERRUPTED} interrupted"
)

RUN = "the run's id; see cirrus ls"

VERBS = {
    "demo": "cirrus.cli.demo:demo",
    "run": "cirrus.cli.running:run_file",
    "resume": "cirrus.cli.resuming:resume",
    "attach": "cirrus.cli.attaching:attach",
    "scale": "cirrus.cli.ordering:scale",
    "kill": "cirrus.cli.ordering:kill",
    "predict": "cirrus.cli.predicting:predict",
    "ls": "cirrus.cli.listing:list_runs",
    "gc": "cirrus.cli.cleaning:clean",
    **cloud_verbs.VERBS,
}
"""What each verb calls; its module is imported when the verb is used, so that no verb waits for another's imports."""


def parser() -> ArgumentParser:
    """All verbs and their options."""
    top = ArgumentParser(prog="cirrus", description="machine learning on serverless functions", epilog=EPILOG)
    verbs = top.add_subparsers(title="verbs", required=True, metavar="VERB")
    made = _verb(verbs, "demo", "make click data with a known optimum, prepare it and train on it")
    made.add_argument("--rows", type=int, default=200_000, help="rows to make (default 200000)")
    made.add_argument("--seed", type=int, default=0, help="which rows to make (default 0)")
    places.add_options(made)
    ran = _verb(verbs, "run", "run the pipeline of a Python file")
    ran.add_argument("file", metavar="FILE[:NAME]", help="the file, and the pipeline's name in it (pipeline)")
    _page(ran)
    places.add_options(ran)
    change = "change a setting, such as train.workers=8"
    ran.add_argument("--set", action="append", default=[], metavar="STAGE.FIELD=VALUE", help=change)
    again = _verb(verbs, "resume", "go on with a run whose driver is gone")
    again.add_argument("run", metavar="RUN", help=RUN)
    change = "change a limit, as in budget.dollars=5"
    again.add_argument("--set", action="append", default=[], metavar="BUDGET.FIELD=VALUE", help=change)
    places.add_options(again)
    _outside(verbs)
    told = _verb(verbs, "predict", "print the probability of label 1 for each row of a file")
    told.add_argument("model", help="a model that was saved, or a run id")
    told.add_argument("data", help="rows like those that the model was trained on, with or without labels")
    _verb(verbs, "ls", "list the runs of a store")
    cleaned = _verb(verbs, "gc", "remove what runs left behind and nobody reads again")
    cleaned.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    what = "end hosts of shards in that region, too, whose runs nobody drives"
    cleaned.add_argument("--region", metavar="NAME", help=what)
    cleaned.add_argument("--ec2-endpoint-url", metavar="URL", help="another server that speaks as EC2 does")
    cloud_verbs.add(partial(_verb, verbs))
    return top


def _outside(verbs: Any) -> None:
    """The verbs for a run that another process drives."""
    watched = _verb(verbs, "attach", "show a run that another process drives, to its end")
    watched.add_argument("run", metavar="RUN", help=RUN)
    _page(watched)
    scaled = _verb(verbs, "scale", "wish for another number of workers of a run's stage")
    scaled.add_argument("run", metavar="RUN", help=RUN)
    scaled.add_argument("stage", metavar="STAGE", help="the stage's name")
    scaled.add_argument("workers", metavar="N", type=int, help="how many, 0 to 10000")
    killed = _verb(verbs, "kill", "end a run, whoever drives it; it cannot be resumed")
    killed.add_argument("run", metavar="RUN", nargs="?", help=RUN)
    killed.add_argument("--all", action="store_true", help="let no worker of any run begin on AWS: no execution at all")
    killed.add_argument("--undo", action="store_true", help="with --all: let workers begin again")
    places.add_function(killed)
    killed.add_argument("--stage", metavar="STAGE", help="the stage that is not wanted, for the record")
    killed.add_argument("--trial", type=int, metavar="N", help="end this trial alone; the run goes on")
    killed.add_argument("--reason", metavar="TEXT", default="by order", help="why (by order)")


def _page(made: ArgumentParser) -> None:
    made.add_argument("--dashboard", action="store_true", help="serve the run's live page on this machine")
    made.add_argument("--port", type=int, default=0, metavar="N", help="the page's port (any that is free)")


def _verb(verbs: Any, name: str, help_text: str, *, stored: bool = True) -> ArgumentParser:
    made: ArgumentParser = verbs.add_parser(name, help=help_text, description=help_text, epilog=EPILOG)
    made.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    if stored:
        made.add_argument("--store", default=None, metavar="STORE", help="a folder or s3://bucket/prefix (~/.cirrus)")
    made.set_defaults(verb=name)
    return made


def main(words: Sequence[str] | None = None) -> int:
    """Do what the words say and return the exit code."""
    arguments = parser().parse_args(words)
    try:
        asyncio.run(_call(arguments.verb)(arguments))
        sys.stdout.flush()
    except PipelineError as error:
        complain(str(error))
        return WRONG
    except RunError as error:
        complain(str(error))
        return FAILED
    except BrokenPipeError:  # whoever read our output has read enough, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (OutsideError, OSError) as error:
        complain(str(error))
        return OUTSIDE
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    return DONE


def _call(verb: str) -> Callable[[Namespace], Coroutine[Any, Any, None]]:
    module, _, name = VERBS[verb].partition(":")
    call: Callable[[Namespace], Coroutine[Any, Any, None]] = getattr(importlib.import_module(module), name)
    return call


if __name__ == "__main__":
    sys.exit(main())
