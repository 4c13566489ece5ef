"""``cirrus bundle``: build the zip that functions run, and say what is in it."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from cirrus.bundle.building import Bundle, Wish, build
from cirrus.cli.output import print_json, print_table
from cirrus.store.aside import aside


async def bundle(arguments: Namespace) -> None:
    """Build a bundle and write it to a file."""
    sources = tuple(map(Path, arguments.sources))
    wish = Wish(arguments.python, arguments.architecture, tuple(arguments.packages), sources)
    path = Path(arguments.output or f"cirrus-{wish.python}-{wish.architecture}.zip")
    built = await aside(lambda: _written(wish, path))
    summary = _summary(built, path)
    if arguments.json:
        print_json(summary)
    else:
        print_table([(name.replace("_", " "), _text(value)) for name, value in summary.items()])


def _written(wish: Wish, path: Path) -> Bundle:
    built = build(wish)
    path.write_bytes(built.data)
    return built


def _summary(built: Bundle, path: Path) -> dict[str, object]:
    told = ("python", "architecture", "handler", "kernels", "bytecode", "imports", "packages")
    return {
        "path": str(path),
        "sha256": built.sha256,
        "zip_bytes": len(built.data),
        "unzipped_bytes": built.unzipped,
        **{name: built.manifest[name] for name in told},
    }


def _text(value: object) -> str:
    match value:
        case int():
            return f"{value:,}"
        case dict():
            return ", ".join(f"{name} {version}" for name, version in value.items())
        case _:
            return str(value)
