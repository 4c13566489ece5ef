"""The rules of the house that no linter knows."""

import ast
import inspect
import json
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

import cirrus
from cirrus import errors, events

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "cirrus").rglob("*.py"))
LONGEST_FILE = 400
KERNEL = ROOT / "cirrus/actors/kernel.py"

UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"eval", "exec", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}


def name_of(source: Path) -> str:
    return str(source.relative_to(ROOT))


def dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(name):
            return name
        case ast.Attribute(value, attribute):
            return f"{dotted(value)}.{attribute}"
        case _:
            return "?"


def unsafe(tree: ast.AST) -> Iterator[str]:
    """Whatever could turn data into code."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                yield from (one.name for one in names if one.name.partition(".")[0] in UNSAFE_MODULES)
            case ast.ImportFrom(str(module)) if module.partition(".")[0] in UNSAFE_MODULES:
                yield module
            case ast.Call(function) if dotted(function).removeprefix("builtins.") in UNSAFE_CALLS:
                yield dotted(function)
            case ast.keyword("allow_pickle", ast.Constant(False)):
                pass
            case ast.keyword("allow_pickle"):
                yield "allow_pickle"
            case _:
                pass


def makes_tasks(tree: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Attribute | ast.Name)
        and dotted(node).rpartition(".")[2] in {"create_task", "ensure_future", "TaskGroup"}
        for node in ast.walk(tree)
    )


def test_there_is_something_to_look_at() -> None:
    assert len(SOURCES) > 50


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_a_file_is_read_in_one_sitting(source: Path) -> None:
    assert len(source.read_text().splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_no_code_comes_out_of_data(source: Path) -> None:
    assert list(unsafe(ast.parse(source.read_text()))) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "import joblib.numpy_pickle as j",
        "from marshal import loads",
        "def f():\n    eval('1')",
        "import builtins\nbuiltins.exec('1')",
        "import yaml\nyaml.load(text)",
        "import numpy as np\nnp.load(file, allow_pickle=True)",
    ],
)
def test_what_is_unsafe_would_be_found(text: str) -> None:
    assert list(unsafe(ast.parse(text)))


@pytest.mark.parametrize("source", [one for one in SOURCES if one != KERNEL], ids=name_of)
def test_only_the_kernel_makes_tasks(source: Path) -> None:
    assert not makes_tasks(ast.parse(source.read_text()))


def test_the_kernel_would_be_found_to_make_tasks() -> None:
    assert makes_tasks(ast.parse(KERNEL.read_text()))


LOOK = """
import asyncio, concurrent.futures, contextlib, gc, json, logging, os, signal, sys, threading, warnings
def look():
    known = [logging.root, *logging.root.manager.loggerDict.values()]
    loggers = [one for one in known if isinstance(one, logging.Logger)]
    return {
        "signals": {str(int(one)): repr(signal.getsignal(one)) for one in signal.valid_signals()},
        "handlers": [repr(one) for log in loggers for one in log.handlers if not isinstance(one, logging.NullHandler)],
        "levels": {one.name: one.level for one in loggers if one.level != logging.NOTSET},
        "logging": [logging.root.manager.disable, repr(logging.lastResort), logging.raiseExceptions],
        "policy": repr(asyncio.get_event_loop_policy()),
        "threads": [one.name for one in threading.enumerate()],
        "environment": dict(os.environ),
        "files": sorted(os.listdir("/proc/self/fd")),
        "hooks": [repr(one) for one in (sys.excepthook, sys.unraisablehook, threading.excepthook, sys.displayhook)],
        "streams": [repr(one) for one in (sys.stdin, sys.stdout, sys.stderr)],
        "folder": [os.getcwd(), os.listdir(".")],
        "path": sys.path,
        "warnings": [repr(one) for one in warnings.filters],
        "limits": [sys.getrecursionlimit(), sys.getswitchinterval(), gc.get_threshold(), gc.isenabled()],
    }
OTHERS
before = look()
OURS
print(json.dumps([before, look()]))
"""

OTHERS = """
others = "aiobotocore.session aiohttp.web msgpack numpy optuna rich.live safetensors.numpy sklearn uvloop"
for other in (others + " scipy.sparse scipy.special scipy.stats").split():
    with contextlib.suppress(ImportError):
        __import__(other)
"""

EVERY_MODULE = """
import cirrus, importlib, pkgutil
for module in pkgutil.walk_packages(cirrus.__path__, "cirrus."):
    if not module.name.startswith("cirrus.testing.contracts."):
        importlib.import_module(module.name)
"""


@pytest.mark.parametrize("statements", ["import cirrus", EVERY_MODULE], ids=["root", "all"])
def test_an_import_changes_nothing(statements: str, tmp_path: Path) -> None:
    script = LOOK.replace("OTHERS", OTHERS).replace("OURS", statements)
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{script}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    before, after = json.loads(done.stdout)
    assert after == before


def public() -> tuple[str, ...]:
    return tuple(vars(cirrus)["__all__"])


def order(name: str) -> tuple[bool, bool, str]:
    """Constants, then classes, then functions, as the linter has it."""
    return not name.isupper(), not name[0].isupper(), name


def test_the_public_names_are_sorted_and_each_is_there_once() -> None:
    assert list(public()) == sorted(set(public()), key=order)


def test_the_public_names_are_exactly_what_the_root_defines() -> None:
    tree = ast.parse((ROOT / "cirrus/__init__.py").read_text())
    typed = next(node for node in tree.body if isinstance(node, ast.If))
    heavy, light = (
        {one.name: node.module for node in body if isinstance(node, ast.ImportFrom) for one in node.names}
        for body in (typed.body, tree.body)
    )
    assert heavy == vars(cirrus)["_HEAVY"], "what type checkers see is what is loaded"
    assert set(heavy) | set(light) - {"TYPE_CHECKING"} == set(public())
    assert all(hasattr(cirrus, name) for name in public())
    assert set(public()) <= set(dir(cirrus))


def test_every_event_and_every_error_is_public() -> None:
    happenings = {one.__name__ for one in typing.get_args(events.Event)}
    mistakes = {
        name for name, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.CirrusError)
    }
    assert happenings | mistakes <= set(public())


def test_a_public_name_says_what_it_is() -> None:
    silent = [
        name for name in public() if callable(getattr(cirrus, name)) and not inspect.getdoc(getattr(cirrus, name))
    ]
    assert silent == []


def test_folders_of_code_have_empty_roots() -> None:
    roots = [one for one in SOURCES if one.name == "__init__.py" and one.parent != ROOT / "cirrus"]
    assert [name_of(one) for one in roots if one.read_text()] == []
