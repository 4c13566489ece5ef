"""The state diagrams in the documents are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.diagrams import DIAGRAMS, PAGES, PLACE, SEED, diagram, drawn

ARROW = re.compile(r"^ +(\w+ --> \w+) :", re.MULTILINE)


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.name)
def test_pages_show_the_states_that_the_code_has(page: Path) -> None:
    text = page.read_text()
    assert text == drawn(text), "run python -m tests.docs.diagrams"
    assert text.count("stateDiagram") == len(PLACE.findall(text))


def test_each_diagram_is_shown_once() -> None:
    shown = [found[1] for page in PAGES.glob("*.md") for found in PLACE.findall(page.read_text())]
    assert sorted(shown) == sorted(DIAGRAMS)


@pytest.mark.parametrize("name", DIAGRAMS)
def test_other_walks_find_the_same_arrows(name: str) -> None:
    arrows = ARROW.findall(diagram(name))
    assert len(arrows) > 5
    assert ARROW.findall(diagram(name, SEED + 1)) == arrows
