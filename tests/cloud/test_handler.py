"""The handler of a serverless function lives a worker's life for an event, and says why it left."""

import json
import sys
from pathlib import Path

import pytest

from cirrus.errors import WireError
from cirrus.runs import run
from cirrus.testing.places import Troubled
from lambda_handler.handler import handler
from tests.chaos.ground import Oracle
from tests.cloud.invoked import Context

FIELDS = {
    "run_id": "a", "epoch": 1, "worker": ["train", 0, 1], "role": "train", "shards": ["http://127.0.0.1:1"],
    "store": "memory:", "token": "t", "memory": 600, "timeout": 60,
}  # fmt: skip


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_a_whole_run_whose_workers_are_invocations_is_exact(tmp_path: Path) -> None:
    told = tmp_path / "told"
    oracle = Oracle(rows=640, passes=2, pause=0.01)
    place = Troubled(tmp_path / "store", command=(sys.executable, "-m", "tests.cloud.invoked", str(told)))
    oracle.check(await run(oracle.pipeline(tmp_path, oracle.train(workers=2)), on=place))
    reports = [json.loads(line) for line in told.read_text().splitlines()]
    workers = {tuple(one["worker"]) for one in reports}
    assert ("prepare", 0, 1) in workers
    assert workers & {("train", 0, 1), ("train", 1, 1)}, "one that begins when all is done may have no time to report"
    assert {one["reason"] for one in reports} == {"drained"}
    assert all(0.0 < one["seconds"] < 60.0 and one["memory"] > 2**20 for one in reports)


@pytest.mark.parametrize(
    "event",
    [None, [], "train", {}, {**FIELDS, "role": "boss"}, {**FIELDS, "timeout": -1}, {**FIELDS, "more": 1},
     {name: one for name, one in FIELDS.items() if name != "token"}],
)  # fmt: skip
def test_an_event_that_is_no_assignment_is_refused(event: object) -> None:
    with pytest.raises(WireError, match="assignment"):
        handler(event, Context())
