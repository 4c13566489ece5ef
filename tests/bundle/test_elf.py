"""What compiled files ask of the C library, and that they work without what is never loaded."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cirrus.bundle import elf
from cirrus.errors import WireError

CORE = next(Path(np.__file__).parent.rglob("_multiarray_umath*.so"))
COMPILED = sorted([*Path(np.__file__).parent.rglob("*.so"), *Path(np.__file__).parents[1].glob("numpy.libs/*")])


@pytest.mark.skipif(shutil.which("readelf") is None, reason="no readelf to compare with")
def test_needed_is_what_readelf_says() -> None:
    for path in COMPILED:
        said = subprocess.run(["readelf", "--version-info", path], capture_output=True, text=True, check=True).stdout
        _, _, wanted = said.partition("Version needs section")
        found = [(int(major), int(minor)) for major, minor in re.findall(r"Name: GLIBC_(\d+)\.(\d+)", wanted)]
        assert elf.needed(path.read_bytes()) == max(found, default=(0, 0))


def test_a_file_without_its_sections_is_loaded_all_the_same(tmp_path: Path) -> None:
    data = CORE.read_bytes()
    short = elf.loaded(data)
    assert len(short) < len(data)
    assert elf.needed(short) == elf.needed(data) > (2, 0)
    assert elf.machine(short) == elf.machine(data) in {"x86_64", "arm64"}
    (tmp_path / CORE.name).write_bytes(short)
    load = f"import ctypes, numpy; ctypes.CDLL({str(tmp_path / CORE.name)!r})"
    subprocess.run([sys.executable, "-c", load], check=True)


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x01\x01" + bytes(100)])
def test_other_files_are_for_no_machine(data: bytes) -> None:
    assert elf.machine(data) is None


def test_a_strange_machine_is_a_number() -> None:
    assert elf.machine(b"\x7fELF\x02\x01" + bytes(12) + struct.pack("<H", 243) + bytes(60)) == "243"


@pytest.mark.parametrize("size", [64, 500, 4000])
def test_a_file_that_is_cut_is_refused(size: int) -> None:
    with pytest.raises(WireError, match="cannot be read"):
        elf.needed(CORE.read_bytes()[:size])
