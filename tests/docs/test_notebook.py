"""The example notebook runs in a real kernel, and shows what it says it shows."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def read(path: Path) -> Any:
    return nbformat.reads(path.read_text(), 4)  # type: ignore[no-untyped-call]


class Client(nbclient.NotebookClient):
    """Counts how often something that was shown is shown anew."""

    redrawn = 0

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        self.redrawn += msg["msg_type"] == "update_display_data"
        return super().process_message(msg, cell, cell_index)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_it_is_kept_without_what_it_showed(path: Path) -> None:
    for cell in read(path).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_the_example_shows_its_run_while_it_goes_on_and_what_came_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOKS[0].parents[1]) + os.pathsep + os.environ.get("PYTHONPATH", ""))
    (path,) = NOTEBOOKS
    client = Client(
        read(path),
        timeout=100,
        kernel_name="python3",
        resources={"metadata": {"path": tmp_path}},
    )
    cells = [cell for cell in client.execute().cells if cell.cell_type == "code"]
    (shown,) = next(cell for cell in cells if "cirrus.run(" in cell.source).outputs
    assert shown.output_type == "display_data"
    assert re.search(r"notebook-\d{8}-\w{4}: done", shown.data["text/plain"])
    assert client.redrawn >= 2
    html = shown.data["text/html"]
    curves = [points.split() for points in re.findall(r'<polyline [^>]*points="([^"]+)"', html)]
    assert len(curves) == 9, "eight trials and the training that goes on with the best"
    assert max(map(len, curves)) >= 3
    assert ">train</text>" in html
    assert len(re.findall(r"<td[^>]*>(?:done|pruned)</td>", html)) == 8 + 3
    (result,) = next(cell for cell in cells if cell.source == "result").outputs
    assert re.search(r">train</td><td[^>]*>log loss</td><td[^>]*>0\.4\d+</td>", result.data["text/html"])
    (printed,) = next(cell for cell in cells if "print(" in cell.source).outputs
    assert float(printed.text.split()[3].rstrip(";")) < 0.52
    assert "weights" in cells[-1].outputs[0].data["text/html"]
