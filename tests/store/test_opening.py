"""A store's URL opens the same store again, and what cannot be opened is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from cirrus.errors import PipelineError
from cirrus.store.files import FilesStore
from cirrus.store.opening import open_store


@pytest.mark.parametrize("name", ["plain", "with space", "100%25", "ünï#1?x=y;z", "a+b"])
async def test_opens_the_url_of_a_store(name: str, tmp_path: Path) -> None:
    store = FilesStore(tmp_path / name)
    await store.put("a/b", b"x")
    again = open_store(store.url)
    assert again.url == store.url
    assert await again.get("a/b") == b"x"
    assert (tmp_path / name / "a" / "b").is_file()
    await again.close()
    await store.close()


def test_makes_nothing(tmp_path: Path) -> None:
    open_store((tmp_path / "store").as_uri())
    assert list(tmp_path.iterdir()) == []


def test_this_machine_may_be_named(tmp_path: Path) -> None:
    assert open_store(f"file://localhost{tmp_path}").url == tmp_path.as_uri()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/tmp/x",
        "ftp://host/x",
        "memory:x",
        "file:relative",
        "file://host/x",
        "file:///x?y",
        "file:///x#y",
        "file:///a%00b",
        "file://[bad/x",
    ],
)
def test_names_what_is_allowed(url: str) -> None:
    with pytest.raises(PipelineError, match="file:///") as caught:
        open_store(url)
    assert (caught.value.field, caught.value.given) == ("store", url)
