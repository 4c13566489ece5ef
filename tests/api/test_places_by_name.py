"""Places that can do without settings, by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

import cirrus
from cirrus.errors import PipelineError
from cirrus.pipeline import Pipeline, Prepare
from cirrus.sources import csv
from cirrus.steps import Bucket, Hash

ROWS = "age,city,clicked\n" + "".join(f"{k % 70},c{k % 9},{k % 2}\n" for k in range(600))


def pipeline(folder: Path) -> Pipeline:
    path = folder / "clicks.csv"
    path.write_text(ROWS)
    prepare = Prepare(steps=(Bucket(), Hash(bits=10)), test=0.0, workers=1)
    return Pipeline(name="named", data=csv(path, label="clicked"), stages=(prepare,))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("on", ["local", "emulator"])
def test_a_run_takes_place_where_the_name_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on: Literal["local", "emulator"]
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    result = cirrus.run_sync(pipeline(tmp_path), on=on)
    assert result.metrics["prepare"]["train"] == 600
    assert (tmp_path / ".cirrus" / "runs" / result.run_id).is_dir()
    assert (result.cost.dollars > 0) == (on == "emulator"), "an emulator's workers cost what Lambda takes"


@pytest.mark.parametrize(
    ("on", "said"),
    [("aws", r"cirrus\.aws\(\.\.\.\)"), ("lambda", "'local', 'emulator'"), ("", "'local', 'emulator'"), (7, "'local'")],
)
async def test_what_is_no_place_is_refused_with_what_there_is(tmp_path: Path, on: Any, said: str) -> None:
    with pytest.raises(PipelineError, match=said) as caught:
        await cirrus.run(pipeline(tmp_path), on=on)
    with pytest.raises(PipelineError, match=said):
        await cirrus.resume("a-run", on=on)
    assert caught.value.field == "on"
