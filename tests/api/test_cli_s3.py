"""Every verb takes a store on S3 by its URL."""

from __future__ import annotations

import json
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from cirrus.cli.main import main
from cirrus.cli.output import DONE, WRONG
from cirrus.testing.data import criteo_like
from cirrus.testing.seaweed import Seaweed


def test_a_run_is_made_listed_watched_used_and_cleaned_up_on_s3(
    tmp_path: Path, server: Seaweed, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"s3://by-command/{token_hex(4)}?endpoint={server.endpoint}"

    def told(*words: str) -> tuple[int, Any]:
        """Exit code, and the JSON objects that were printed."""
        code = main([*words, "--store", url, "--json"])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    code, (made,) = told("demo", "--rows", "2000")
    run_id = made["run_id"]
    assert code == DONE
    code, ((listed,),) = told("ls")
    assert (code, listed["run_id"], listed["outcome"]) == (DONE, run_id, "done")
    code, shown = told("attach", run_id)
    assert (code, shown[0]["store"].partition("?")[0]) == (DONE, url.partition("?")[0])
    assert shown[-1]["outcome"] == "done"
    criteo_like(tmp_path / "rows.tsv", 20, seed=1)
    code, (chances,) = told("predict", run_id, str(tmp_path / "rows.tsv"))
    assert (code, len(chances["probabilities"])) == (DONE, 20)
    code, (seen,) = told("gc", "--dry-run")
    assert (code, seen["runs"], seen["removed"]) == (DONE, 1, False)
    code, (gone,) = told("gc")
    assert (code, gone["objects"], gone["removed"]) == (DONE, seen["objects"], True)
    assert gone["objects"] > 0
    code, nothing = told("scale", run_id, "train", "2")
    assert (code, nothing) == (WRONG, [])
    code, (again,) = told("resume", run_id)
    assert (code, again["run_id"], again["resumed"]) == (DONE, run_id, {})
    assert again["metrics"]["train"]["log_loss"] == made["log_loss"]
