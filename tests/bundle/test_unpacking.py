"""Zips are unpacked without trust, and packed so that they are the same again."""

from __future__ import annotations

import contextlib
import io
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from cirrus.bundle.packing import pack
from cirrus.bundle.unpacking import unpack
from cirrus.errors import WireError

NAMES = some.lists(some.sampled_from(["a", "b.py", "c.so", "é"]), min_size=1, max_size=3).map("/".join)


def zipped(*entries: tuple[str, bytes], mode: int = stat.S_IFREG | 0o644) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in entries:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, content)
    return data.getvalue()


def inside(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


@given(names=some.sets(NAMES.map(lambda name: f"{name}.end")), content=some.binary(max_size=50))
def test_what_is_packed_is_unpacked(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("zip")
    wanted = dict.fromkeys(names, content)
    data = pack(wanted)
    assert data == pack(dict(reversed(wanted.items())))
    assert unpack(data, folder) == len(content) * len(names)
    assert inside(folder) == wanted


def test_only_libraries_may_be_executed(tmp_path: Path) -> None:
    unpack(pack({"a/b.so": b"1", "a/c.py": b"2"}), tmp_path)
    assert stat.S_IMODE((tmp_path / "a/b.so").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "a/c.py").stat().st_mode) == 0o644


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/out", "..", "C:/out", "a\\..\\out"])
def test_nothing_is_written_outside(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "in" / "here"
    folder.mkdir(parents=True)
    with pytest.raises(WireError, match="outside"):
        unpack(zipped(("fine", b"x"), (name, b"x")), folder)
    assert inside(tmp_path) == {}


def test_a_file_that_is_also_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WireError):
        unpack(zipped(("a", b"x"), ("a/b", b"x")), tmp_path)


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644, stat.S_IFCHR | 0o644])
def test_links_and_devices_are_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(WireError, match="link"):
        unpack(zipped(("a", b"/etc/passwd"), mode=mode), tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WireError, match="twice"):
        unpack(zipped(("a", b"1"), ("a", b"2")), tmp_path)


def test_no_more_is_written_than_may_be(tmp_path: Path) -> None:
    with pytest.raises(WireError, match="more bytes"):
        unpack(zipped(("a", bytes(600)), ("b", bytes(600))), tmp_path, most=1000)


def test_what_the_zip_says_of_its_sizes_is_not_believed(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1_000_000))
    lie = packed.getvalue().replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    with pytest.raises(WireError):
        unpack(lie, tmp_path, most=1000)
    assert sum(map(len, inside(tmp_path).values())) <= 1000


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"no zip at all"])
def test_what_is_no_zip_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(WireError):
        unpack(data, tmp_path)


@given(place=some.integers(0, 1000), byte=some.integers(0, 255))
def test_damage_is_refused_or_harmless(tmp_path_factory: pytest.TempPathFactory, place: int, byte: int) -> None:
    folder = tmp_path_factory.mktemp("zip") / "in"
    folder.mkdir()
    data = bytearray(pack({"a.py": b"x" * 40, "b/c.so": b"y" * 40}))
    data[place % len(data)] = byte
    with contextlib.suppress(WireError):
        unpack(bytes(data), folder)
    assert {one.name for one in folder.parent.iterdir()} == {"in"}
