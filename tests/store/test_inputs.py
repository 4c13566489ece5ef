"""Paths become objects, objects become splits, and the lines of all splits together are the lines of the object."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cirrus.errors import InputError, PipelineError
from cirrus.store import reading
from cirrus.store.base import ObjectStore
from cirrus.store.files import FilesStore
from cirrus.store.gunzip import MAGIC
from cirrus.store.inputs import InputObject, Split, expand, locate, plan_splits
from cirrus.store.memory import MemoryStore
from cirrus.store.opening import open_store
from cirrus.store.reading import Chunk, head, line_number, lines, relocated


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FilesStore]:
    store = FilesStore(tmp_path)
    yield store
    await store.close()


async def found(path: str) -> tuple[InputObject, ...]:
    location = locate(path)
    store = open_store(location.url)
    try:
        return await expand(store, location)
    finally:
        await store.close()


async def stored(data: bytes) -> tuple[ObjectStore, InputObject]:
    store = MemoryStore()
    etag = await store.put("x", data)
    return store, InputObject(0, "x", "a/x", len(data), etag, data[:2] == b"\x1f\x8b")


async def read(store: ObjectStore, split: Split, size: int = 7, header: bytes = b"") -> list[Chunk]:
    return [chunk async for chunk in lines(store, split, header, size)]


async def test_a_path_is_one_object(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b"1\n")
    (one,) = await found(str(tmp_path / "a.tsv"))
    assert (one.number, one.key, one.name, one.size, one.compressed) == (0, "a.tsv", str(tmp_path / "a.tsv"), 2, False)


async def test_gzip_is_told_by_its_first_bytes_not_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(gzip.compress(b"1\n"))
    (tmp_path / "b.gz").write_bytes(b"1\n")
    assert [one.compressed for one in await found(f"{tmp_path}/")] == [True, False]


async def test_a_glob_matches_within_parts_in_order(tmp_path: Path) -> None:
    for name in ("d1/b.tsv", "d1/a.tsv", "d2/c.tsv", "d1/.a.tsv", "d1/deep/a.tsv", "e/a.tsv", "d1/a.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1\n")
    objects = await found(f"{tmp_path}/d?/*.tsv")
    assert [one.key for one in objects] == ["d1/a.tsv", "d1/b.tsv", "d2/c.tsv"]
    assert [one.number for one in objects] == [0, 1, 2]
    assert objects[2].name == str(tmp_path / "d2/c.tsv")


async def test_relative_paths_start_where_the_process_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tsv").write_bytes(b"1\n")
    monkeypatch.chdir(tmp_path)
    assert [one.name for one in await found("*.tsv")] == ["a.tsv"]
    assert [one.name for one in await found("a.tsv")] == ["a.tsv"]


async def test_a_folder_stands_for_all_files_below(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b").write_bytes(b"1\n")
    (tmp_path / "a").write_bytes(b"1\n")
    assert [one.name for one in await found(f"{tmp_path}/")] == [f"{tmp_path}/a", f"{tmp_path}/deep/b"]


async def test_special_characters_in_a_name_that_exists_are_plain(tmp_path: Path) -> None:
    (tmp_path / "a[1].tsv").write_bytes(b"1\n")
    assert len(await found(f"{tmp_path}/a[1].tsv")) == 1


async def test_a_link_to_a_file_elsewhere_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_bytes(b"1\n")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "a")
    assert [one.name for one in await found(f"{tmp_path}/link")] == [f"{tmp_path}/link"]


@pytest.mark.parametrize("path", ["no.tsv", "no*.tsv", "no/", "no/where/*.tsv", "a.tsv/b"])
async def test_nothing_there_is_an_error_that_names_the_path(tmp_path: Path, path: str) -> None:
    (tmp_path / "a.tsv").write_bytes(b"1\n")
    with pytest.raises(InputError, match="no such file") as caught:
        await found(f"{tmp_path}/{path}")
    assert caught.value.name == f"{tmp_path}/{path}"


async def test_empty_files_folders_and_foreign_schemes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b"")
    with pytest.raises(InputError, match="this file is empty"):
        await found(f"{tmp_path}/a.tsv")
    with pytest.raises(InputError, match="end it with /"):
        locate(str(tmp_path))
    with pytest.raises(PipelineError, match=r"data\.path"):
        locate("ftp://somewhere/a.tsv")


@pytest.mark.parametrize(
    ("path", "url", "pattern", "wild"),
    [
        ("s3://bucket/a.tsv", "s3://bucket", "a.tsv", False),
        ("s3://bucket/x y/%41+/a.tsv", "s3://bucket/x%20y/%2541%2B", "a.tsv", False),
        ("s3://bucket/", "s3://bucket", "", False),
        ("s3://bucket/x/y/", "s3://bucket/x/y", "", False),
        ("s3://bucket/x/day_*.tsv.gz", "s3://bucket/x", "day_*.tsv.gz", True),
        ("s3://bucket/*/y?/[ab].tsv", "s3://bucket", "*/y?/[ab].tsv", True),
    ],
)
def test_a_path_on_s3_is_a_store_and_what_to_look_for(
    path: str, url: str, pattern: str, wild: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    found = locate(path)
    assert (found.url, found.pattern, found.wild, found.name) == (url, pattern, wild, path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert locate(path).url == f"{url}?endpoint=http%3A%2F%2F127.0.0.1%3A9&region=eu-central-1"


@pytest.mark.parametrize("path", ["s3://", "s3://bucket", "s3:///a", "s3://Bucket/a", "s3://bucket//a/", "s3://b/../a/b"])
def test_a_path_that_s3_cannot_have_is_refused(path: str) -> None:
    with pytest.raises(PipelineError) as caught:
        locate(path)
    assert (caught.value.field, caught.value.given) == ("data.path", path)


@pytest.mark.parametrize(("path", "name"), [("s3://bucket/x/", "s3://bucket/x/a"), ("s3://bucket/x/*", "s3://bucket/x/a")])
def test_objects_on_s3_are_called_as_the_user_would(path: str, name: str) -> None:
    assert locate(path).shown("a") == name


async def test_many_objects_keep_their_order_and_the_first_error_is_told() -> None:
    store = MemoryStore()
    for number in range(40):
        await store.put(f"{number:02d}", gzip.compress(b"1\n") if number % 3 else b"1\n")
    objects = await expand(store, locate("s3://bucket/"))
    assert [(one.number, one.key, one.compressed) for one in objects] == [
        (number, f"{number:02d}", number % 3 != 0) for number in range(40)
    ]


def test_plain_objects_are_cut_and_compressed_ones_are_not() -> None:
    plain, packed = InputObject(0, "a", "a", 25, "e", False), InputObject(1, "b", "b", 25, "e", True)
    splits = plan_splits((plain, packed), 10)
    assert [(split.object.number, split.start, split.stop) for split in splits] == [
        (0, 0, 10), (0, 10, 20), (0, 20, 25), (1, 0, 25)
    ]  # fmt: skip


LINES = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=30).filter(
    lambda lines: not (lines and lines[0].startswith(MAGIC))  # else it would be gzip
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=LINES,
    end=st.sampled_from([b"", b"\n", b"\r\n"]),
    cut=st.integers(1, 60),
    size=st.integers(1, 40),
    packed=st.sampled_from(["gzip", "plain"]),
)
async def test_each_line_is_in_exactly_one_split(
    parts: list[bytes], end: bytes, cut: int, size: int, packed: str
) -> None:
    plain = b"\n".join(parts) + end
    store, one = await stored(gzip.compress(plain) if packed == "gzip" else plain)
    chunks = [chunk for split in plan_splits((one,), cut) for chunk in await read(store, split, size)]
    assert b"".join(chunk.data for chunk in chunks) == plain
    for chunk in chunks:
        assert plain[chunk.offset :].startswith(chunk.data)
        assert chunk.offset == 0 or plain[chunk.offset - 1 : chunk.offset] == b"\n"
        assert chunk.data.endswith(b"\n") or chunk is chunks[-1]


@given(parts=LINES, cut=st.integers(1, 40))
async def test_lines_of_a_split_find_their_number_in_the_object(parts: list[bytes], cut: int) -> None:
    plain = b"\n".join(parts) + b"\n"
    store, one = await stored(plain)
    for split in plan_splits((one,), cut):
        for chunk in await read(store, split, 5):
            assert await line_number(store, split, chunk.line) == plain[: chunk.offset].count(b"\n") + 1


async def test_an_error_is_told_with_the_line_of_the_object() -> None:
    store, one = await stored(b"a\nb\nc\nd\n")
    error = await relocated(store, Split(one, 4, 8), InputError("a/x", "wrong", 2, "I1"))
    assert (error.line, error.column, error.problem) == (4, "I1", "wrong")
    assert (await relocated(store, Split(one, 4, 8), InputError("a/x", "cut off"))).line == 0


async def test_the_header_is_left_out_of_the_first_split_only() -> None:
    store, one = await stored(b"\xef\xbb\xbfx,y\r\n1,2\n3,4\n")
    first, second = plan_splits((one,), 11)
    assert await read(store, first, 100, b"x,y") == [Chunk(b"1,2\n", 8, 2)]
    assert await read(store, second, 100, b"x,y") == [Chunk(b"3,4\n", 12, 1)]
    with pytest.raises(InputError, match="header line is not that of the first file"):
        await read(store, first, 100, b"x,z")


async def test_an_object_that_is_its_header_has_no_rows() -> None:
    store, one = await stored(b"x,y")
    assert await read(store, Split(one, 0, 3), header=b"x,y") == []


async def test_the_head_is_whole_lines() -> None:
    store, one = await stored(gzip.compress(b"abc\ndef\nghi"))
    assert await head(store, one, 6) == b"abc\ndef\n"
    assert await head(store, one) == b"abc\ndef\nghi"


async def test_all_members_of_a_gzip_file_are_read_and_padding_is_not() -> None:
    packed = gzip.compress(b"a\nb") + bytes(9) + gzip.compress(b"c\n") + gzip.compress(b"") + bytes(500)
    store, one = await stored(packed)
    for size in (1, 3, 1000):
        chunks = await read(store, Split(one, 0, one.size), size)
        assert b"".join(chunk.data for chunk in chunks) == b"a\nbc\n"


async def test_a_gzip_file_that_is_cut_off_anywhere_is_an_error() -> None:
    whole = gzip.compress(b"abc\n" * 50) + gzip.compress(b"def\n" * 50)
    first = len(gzip.compress(b"abc\n" * 50))
    for length in {*range(2, len(whole))} - {first}:
        store, one = await stored(whole[:length])
        with pytest.raises(InputError, match=f"a/x: .*cut off.* byte {length}"):
            await read(store, Split(one, 0, one.size), 64)


async def test_a_damaged_gzip_file_is_an_error_that_names_the_byte() -> None:
    packed = bytearray(gzip.compress(b"abc\n" * 500))
    packed[-6] ^= 1
    store, one = await stored(bytes(packed))
    with pytest.raises(InputError, match="no valid gzip data from byte 0"):
        await read(store, Split(one, 0, one.size), 4096)
    store, one = await stored(gzip.compress(b"abc\n") + b"garbage")
    with pytest.raises(InputError, match="no valid gzip data from byte 24"):
        await read(store, Split(one, 0, one.size), 4096)


async def test_much_from_little_comes_in_pieces() -> None:
    store, one = await stored(gzip.compress(b"0123456\n" * 500_000))
    sizes = [len(chunk.data) for chunk in await read(store, Split(one, 0, one.size), 10_000)]
    assert sum(sizes) == 4_000_000
    assert max(sizes) <= 20_000


async def test_a_changed_object_is_refused(store: FilesStore, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1\n2\n")
    (one,) = await expand(store, locate(f"{tmp_path}/a"))
    (tmp_path / "a").write_bytes(b"1\n2\n3\n")
    with pytest.raises(InputError, match=r"a: this file has changed since the run began"):
        await read(store, Split(one, 0, 4))
    (tmp_path / "a").unlink()
    with pytest.raises(InputError, match="it is gone"):
        await read(store, Split(one, 0, 4))


async def test_an_endless_line_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LONGEST_LINE", 20)
    store, one = await stored(b"ab\n" + b"c" * 50 + b"\n")
    with pytest.raises(InputError, match="a line of more than 20 bytes begins at byte 3"):
        await read(store, Split(one, 0, one.size))
