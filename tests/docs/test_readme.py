"""What the README shows must be true."""

import ast
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from cirrus.cli.main import parser

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = {"sh", "bash", "shell", "console"}


def section(title: str) -> str:
    """The text below that heading, up to the next one of the same or a higher level."""
    text = BLOCK.sub(lambda block: block[0].replace("\n#", "\n\0"), README.read_text())  # a comment is no heading
    found = re.search(rf"^(#+) {re.escape(title)}$(.*?)(?=^#{{1,6}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no section {title!r}"
    return found[2].replace("\0", "#")


def blocks(text: str, languages: set[str]) -> list[str]:
    return [block[2] for block in BLOCK.finditer(text) if block[1] in languages]


def commands(text: str) -> list[list[str]]:
    """The command lines of a text's shell blocks, prompts, comments and continuations resolved."""
    found = []
    for block in blocks(text, SHELL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            found += [words] if words else []
    return found


def test_it_shows_python_and_every_block_compiles() -> None:
    shown = blocks(README.read_text(), {"python", "py"})
    assert shown
    for number, source in enumerate(shown):
        compile(source, f"README.md, block {number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_commands_exist() -> None:
    named = commands(section("Commands"))
    assert named
    for words in named:
        check(words)


def understood(words: list[str]) -> bool:
    try:
        parser().parse_args(words)
    except SystemExit as end:  # code 0: it was asked for help
        return end.code == 0
    return True


def check(words: list[str]) -> None:
    """The program exists; words for ``cirrus`` are ones that it understands."""
    if words[0] == "cirrus":
        assert understood(words[1:]), shlex.join(words)
    elif "/" in words[0]:
        assert os.access(ROOT / words[0], os.X_OK), shlex.join(words)
    else:
        assert shutil.which(words[0]), shlex.join(words)


@pytest.mark.parametrize("words", [["cirrus", "dance"], ["scripts/dance"], ["no-such-program", "-x"]])
def test_a_command_that_does_not_exist_would_be_found(words: list[str]) -> None:
    with pytest.raises(AssertionError):
        check(words)
