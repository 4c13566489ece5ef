"""The live page beside a command: served while the command goes on, its address said first."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cirrus import checks
from cirrus.errors import PipelineError
from cirrus.page.serving import served
from cirrus.watching import Watched


def wished(arguments: Namespace) -> int | None:
    """The port of the page; ``None`` where none is wished for."""
    if not arguments.dashboard:
        if arguments.port:
            raise PipelineError("--port", arguments.port, "with --dashboard")
        return None
    checks.integer("--port", arguments.port, 0, 65_535)
    checks.installed("plotly", "dashboard")
    return int(arguments.port)


@asynccontextmanager
async def paged(run: Watched, port: int | None) -> AsyncIterator[None]:
    """Serve the page of a run inside the block, unless ``port`` is ``None``."""
    if port is None:
        yield
        return
    async with served(run, port) as page:
        print(f"live page: {page.address()}  (opens once)", file=sys.stderr, flush=True)
        yield
