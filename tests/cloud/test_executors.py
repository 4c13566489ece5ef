"""Workers on executors: a pool of processes, and a Dask cluster."""

import asyncio
import multiprocessing
import os
import warnings
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pytest

from cirrus import errors
from cirrus.clock import SystemClock
from cirrus.cloud.executor_invoker import ExecutorInvoker
from cirrus.cloud.executors import executor
from cirrus.cloud.local import MEGABYTE
from cirrus.core.cost import FREE, Price
from cirrus.runs import run
from tests.chaos.ground import Oracle
from tests.cloud.children import COMMAND, assignment
from tests.cloud.held import HeldContract

pytestmark = [
    pytest.mark.asyncio(loop_factories=["asyncio"]),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of Dask's own sockets
]


def invoker_on(pool: Executor, grace: float = 5.0) -> ExecutorInvoker:
    return ExecutorInvoker(pool, COMMAND, SystemClock(), grace, FREE)


@pytest.fixture(scope="module", autouse=True)
def _no_tracker_left() -> Iterator[None]:
    """Both pools start a process that tracks their resources, and would stay until the tests end."""
    yield
    tracker: Any = resource_tracker._resource_tracker
    tracker._stop()


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture(scope="module")
def dask() -> Iterator[Executor]:
    distributed: Any = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=3, processes=True, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get_executor(pure=False)


class TestPool(HeldContract):
    """A pool of processes of this machine."""

    @pytest.fixture
    async def invoker(self, processes: Executor) -> AsyncIterator[ExecutorInvoker]:
        made = invoker_on(processes, grace=0.2)
        yield made
        await made.close()


class TestDask(HeldContract):
    """A cluster of Dask, whose workers are processes of this machine."""

    @pytest.fixture
    async def invoker(self, dask: Executor) -> AsyncIterator[ExecutorInvoker]:
        made = invoker_on(dask, grace=0.2)
        yield made
        await made.close()


async def counted(folder: Path, pool: Executor) -> None:
    oracle = Oracle(rows=640, passes=2)
    price = Price(name="a desk", per_gb_second=0.01, per_invocation=0.0, dated="2026-11-01")
    place = executor(pool, store=folder / "store", price=price)
    result = await run(oracle.pipeline(folder, oracle.train(workers=2)), on=place)
    oracle.check(result)
    assert result.cost.dollars > 0


async def test_a_run_on_dask_counts_every_minibatch_once(tmp_path: Path, dask: Executor) -> None:
    await counted(tmp_path, dask)


async def test_a_run_on_a_pool_counts_every_minibatch_once(tmp_path: Path, processes: Executor) -> None:
    await counted(tmp_path, processes)


async def test_a_call_that_has_not_begun_is_taken_back() -> None:
    with ThreadPoolExecutor(1) as pool:
        invoker = invoker_on(pool)
        await invoker.invoke(assignment("time.sleep(0.5)"))
        waiting = assignment("finish", slot=1)
        await invoker.invoke(waiting)
        await invoker.stop(waiting.worker)
        end = await anext(invoker.exits())
        assert (end.worker, end.cause, end.detail) == (waiting.worker, "killed", "its call was taken back")
        assert (await anext(invoker.exits())).cause == "finished"
        await invoker.close()


async def test_a_workers_limits_hold_where_it_is() -> None:
    with ThreadPoolExecutor(1) as pool:
        invoker = invoker_on(pool)
        held = assignment(f"held = b'x' * {300 * MEGABYTE}; sys.stdin.read()", memory=128)
        await invoker.invoke(held)
        end = await anext(invoker.exits())
        assert (end.cause, "more than its 128 MB" in end.detail) == ("memory", True)
        await invoker.close()


async def test_an_executor_that_was_shut_down_is_an_error() -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    invoker = invoker_on(pool)
    with pytest.raises(errors.InvokeError, match="the executor takes no calls"):
        await invoker.invoke(assignment("finish"))
    await invoker.close()


async def test_a_broken_pool_is_told_as_the_end_of_its_workers_and_then_as_an_error() -> None:
    with warnings.catch_warnings(), ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        invoker = invoker_on(pool)
        source = f"os.kill(os.getppid(), signal.SIGKILL) if os.getppid() != {os.getpid()} else None; sys.stdin.read()"
        await invoker.invoke(assignment(source))
        end = await anext(invoker.exits())
        assert (end.cause, "the executor lost it" in end.detail) == ("crashed", True)
        with pytest.raises(errors.InvokeError, match="the executor takes no calls"):
            await invoker.invoke(assignment("finish"))
        await invoker.close()


async def test_what_is_no_executor_is_refused() -> None:
    given: Any = asyncio
    with pytest.raises(errors.PipelineError, match="executor"):
        executor(given)
