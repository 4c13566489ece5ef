"""Which of the project's modules a worker needs: those that its handler imports, and those that it loads by name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("cirrus", "lambda_handler")
HANDLER = "lambda_handler.handler"
LEAN = "cirrus.store.s3_lean"


@dataclass(frozen=True, slots=True)
class Contents:
    """The source files of the project's modules by their place in the bundle, and the packages that they import."""

    files: dict[str, Path]
    foreign: frozenset[str]


def contents(root: Path = ROOT) -> Contents:
    """What the handler imports when it is loaded, and what is loaded by name: all that computes, and S3 without SDK."""
    named = [f"cirrus.learn.{path.stem}" for path in (root / "cirrus/learn").glob("*.py")]
    waiting, files, foreign = [HANDLER, LEAN, *named], dict[str, Path](), set[str]()
    while waiting:
        module = waiting.pop()
        path = _path(root, module)
        if module.partition(".")[0] not in PACKAGES:
            foreign.add(module.partition(".")[0])
        elif path is None:
            waiting += [module.rpartition(".")[0]] if "." in module else []  # a name in a module
        elif str(path.relative_to(root)) not in files:
            files[str(path.relative_to(root))] = path
            waiting += _imports(ast.parse(path.read_bytes()).body)
            waiting += [module.rpartition(".")[0]] if "." in module else []
    return Contents(dict(sorted(files.items())), frozenset(foreign))


def _path(root: Path, module: str) -> Path | None:
    stem = root.joinpath(*module.split("."))
    return next((one for one in (stem.with_suffix(".py"), stem / "__init__.py") if one.is_file()), None)


def _imports(body: list[ast.stmt]) -> Iterator[str]:
    """What is imported when the module is; what only type checkers see is not."""
    for node in body:
        match node:
            case ast.Import(names):
                yield from (one.name for one in names)
            case ast.ImportFrom(str(module), names, 0):
                yield module
                yield from (f"{module}.{one.name}" for one in names)
            case ast.If(ast.Name("TYPE_CHECKING"), _, rest):
                yield from _imports(rest)
            case ast.If(_, then, rest):
                yield from _imports([*then, *rest])
            case ast.Try(tried, handlers, rest, last):
                yield from _imports([*tried, *(one for handler in handlers for one in handler.body), *rest, *last])
            case _:
                pass
