"""The reference leaves nothing out: names, events, errors and options are all in it, and what it shows compiles."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cirrus
from cirrus import errors, events, optimizers, pipeline, sources, steps
from cirrus.cli import output
from cirrus.cli.main import VERBS, parser

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
REFERENCE = "\n".join(path.read_text() for path in PAGES if path.parent.name == "reference")
WORDS = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", REFERENCE))
HAPPENINGS = typing.get_args(events.Event)
MISTAKES = [
    one
    for _, one in inspect.getmembers(errors, inspect.isclass)
    if issubclass(one, errors.CirrusError) and one.__module__ == errors.__name__
]
STAGES = [pipeline.Prepare, pipeline.Train, pipeline.Tune]
WISHES = [pipeline.Pipeline, *STAGES, pipeline.Best, pipeline.Budget, cirrus.LogisticRegression]
DOMAINS = [cirrus.choice, cirrus.uniform, cirrus.log_uniform, cirrus.integers]
SEARCHES = [*DOMAINS, cirrus.Random, cirrus.Grid, cirrus.optuna_sampler, cirrus.Halving, cirrus.MedianStop]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def page(name: str) -> str:
    return (ROOT / "docs/reference" / f"{name}.md").read_text()


def row(text: str, name: str) -> str:
    """The line of a table that begins with that name."""
    found = re.search(rf"^\| `{re.escape(name)}`.*$", text, re.MULTILINE)
    assert found, f"no table has a row for {name}"
    return found[0]


@pytest.mark.parametrize("name", cirrus.__all__)
def test_every_public_name_is_explained(name: str) -> None:
    assert re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", REFERENCE)


@pytest.mark.parametrize("event", HAPPENINGS, ids=lambda event: event.__name__)
def test_every_event_is_there_with_exactly_its_fields(event: Any) -> None:
    fields = row(page("events"), event.__name__).split("|")[2]
    assert re.findall(r"`(\w+)`", fields) == [field.name for field in dataclasses.fields(event)]


@pytest.mark.parametrize("error", MISTAKES, ids=lambda error: error.__name__)
def test_every_error_is_there_with_its_parent_and_attributes(error: Any) -> None:
    cells = row(page("errors"), error.__name__).split("|")
    assert cells[2].strip() == f"`{error.__base__.__name__}`"
    source = ast.parse(inspect.getsource(errors))
    set_by: dict[str, set[str]] = {
        node.name: {
            one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store)
        }
        for node in source.body
        if isinstance(node, ast.ClassDef)
    }
    wanted = set().union(*(set_by.get(kind.__name__, set()) for kind in error.__mro__))
    assert set(re.findall(r"`(\w+)`", cells[3])) <= wanted
    assert set(re.findall(r"`(\w+)`", cells[3])) >= set_by[error.__name__]


@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: wish.__name__)
def test_every_field_of_a_wish_is_there(wish: Any) -> None:
    assert {field.name for field in dataclasses.fields(wish)} <= WORDS


@pytest.mark.parametrize("wish", STAGES, ids=lambda wish: wish.__name__)
def test_defaults_are_what_the_tables_say(wish: Any) -> None:
    text = page("pipeline").partition(f"## `{wish.__name__}`")[2].partition("\n## ")[0]
    for field in dataclasses.fields(wish):
        default = row(text, field.name).split("|")[2].strip()
        if field.default is not dataclasses.MISSING:
            assert default == f"`{field.default!r}`".replace("'", '"')
        else:
            assert default.startswith("`") == (field.default_factory is not dataclasses.MISSING)


@pytest.mark.parametrize("rule", typing.get_args(optimizers.Optimizer), ids=lambda rule: rule.__name__)
def test_settings_of_optimizers(rule: Any) -> None:
    wanted = ", ".join(f"`{field.name}={field.default!r}`" for field in dataclasses.fields(rule))
    assert row(page("pipeline"), rule.__name__).split("|")[2].strip() == wanted


@pytest.mark.parametrize("make", [sources.criteo, sources.csv, sources.libsvm], ids=lambda make: make.__name__)
def test_arguments_of_sources(make: Any) -> None:
    names = [
        one.name if one.default is inspect.Parameter.empty else f"{one.name}={one.default!r}".replace("'", '"')
        for one in inspect.signature(make).parameters.values()
    ]
    assert f"`{make.__name__}({names[0]}, *, {', '.join(names[1:])})`" in page("pipeline")


@pytest.mark.parametrize("make", SEARCHES, ids=lambda make: make.__name__)
def test_arguments_of_what_is_searched(make: Any) -> None:
    signature = inspect.signature(make)
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]
    words = signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    assert f"`{make.__name__}{words}`".replace("'", '"') in page("pipeline")


@pytest.mark.parametrize("step", typing.get_args(steps.Step), ids=lambda step: step.__name__)
def test_arguments_of_steps(step: Any) -> None:
    parameters = [str(one).partition(":")[0] for one in inspect.signature(step).parameters.values()]
    assert all(re.search(rf"`{step.__name__}\([^`]*\b{name}\b", REFERENCE) for name in parameters)


@pytest.mark.parametrize("kind", [cirrus.Run, cirrus.Model, cirrus.WorkerView, cirrus.Cost, cirrus.Result])
def test_everything_that_can_be_asked_of_what_runs(kind: Any) -> None:
    asked = {name for name in vars(kind) if not name.startswith("_")} - {"ended", "unheard", "trained"}
    assert asked <= set(re.findall(r"\w+", page("running")))


def options() -> Iterator[tuple[str, argparse.Action]]:
    verbs = next(one for one in parser()._actions if isinstance(one, argparse._SubParsersAction))
    for verb, made in verbs.choices.items():
        for action in made._actions:
            yield verb, action


@pytest.mark.parametrize(("verb", "action"), list(options()), ids=lambda one: getattr(one, "dest", one))
def test_every_option_is_explained(verb: str, action: argparse.Action) -> None:
    common, *sections = page("command").split("\n## `cirrus ")
    section = next(one for one in sections if one.startswith(verb))
    name = str(action.metavar or action.dest)
    for word in action.option_strings or [name if [name] == list(action.choices or ()) else name.upper()]:
        assert re.search(rf"`{re.escape(word)}[ `]", common + section) or word in section.partition("\n")[0]


def test_every_verb_and_exit_code_is_there() -> None:
    found = re.findall(r"^## `cirrus (\w+)", page("command"), re.MULTILINE)
    assert set(found) == set(VERBS)
    codes = re.findall(r"^\| (\d+) \|", page("command").partition("## Exit codes")[2], re.MULTILINE)
    wanted = (output.DONE, output.WRONG, output.FAILED, output.OUTSIDE, output.INTERRUPTED)
    assert [int(code) for code in codes] == list(wanted)


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md"], ids=lambda path: str(path.relative_to(ROOT)))
def test_blocks_compile_and_links_lead_somewhere(path: Path) -> None:
    text = path.read_text()
    for number, source in enumerate(BLOCK.findall(text)):
        how = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        for node in ast.walk(compile(source, f"{path.name}, block {number}", "exec", how)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cirrus":
                assert hasattr(cirrus, node.attr), f"cirrus.{node.attr}"
            if isinstance(node, ast.ImportFrom) and node.module == "cirrus":
                assert all(hasattr(cirrus, one.name) for one in node.names)
    for target in LINK.findall(text):
        assert "://" in target or (path.parent / target).exists(), target
    for name in re.findall(r"`(cirrus/[\w/]+\.py)`", text):
        assert (ROOT / name).exists(), name
