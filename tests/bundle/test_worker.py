"""Workers that have the bundle and nothing else do a whole run, with their objects on a real S3 server."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path

import pytest

import cirrus
from cirrus.bundle.building import Bundle
from cirrus.bundle.interpreters import FORBIDDEN
from cirrus.testing.data import criteo_like
from cirrus.testing.places import Troubled

pytestmark = pytest.mark.timeout(600)  # pip downloads what the bundle is made of
INSIDE = Path(__file__).with_name("inside.py")


@pytest.mark.asyncio(loop_factories=["uvloop"])
@pytest.mark.usefixtures("server")
async def test_a_run_needs_no_more_than_the_bundle(bundle: Bundle, task: Path, tmp_path: Path) -> None:
    criteo_like(tmp_path / "rows.tsv", 4000, seed=3)
    pipeline = cirrus.Pipeline(
        name="bundled",
        data=cirrus.criteo(str(tmp_path / "rows.tsv")),
        stages=(
            cirrus.Prepare(steps=(cirrus.Bucket(), cirrus.Hash(bits=12)), test=0.2, workers=1, block=1024),
            cirrus.Train(workers=2, minibatch=50),
        ),
    )
    told = tmp_path / "told"
    command = (sys.executable, "-I", "-S", "-B", str(INSIDE), str(task), str(told))
    place = Troubled(f"s3://bundled/{secrets.token_hex(8)}", command=command)
    result = await cirrus.run(pipeline, on=place)
    assert result.metrics["train"]["samples"] == result.metrics["prepare"]["train"]
    reports = [json.loads(line) for line in told.read_text().splitlines()]
    assert {one["worker"][0] for one in reports} >= {"prepare", "train"}
    for one in reports:
        assert one["strange"] == []
        assert not {name.partition(".")[0] for name in one["loaded"]} & set(FORBIDDEN)
        assert "cirrus.store.s3_lean" in one["loaded"]
        assert one["kernels"] == (bundle.manifest["kernels"] == "compiled")
