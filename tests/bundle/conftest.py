"""One bundle for this interpreter, which pip's downloads make slow to build."""

from __future__ import annotations

from pathlib import Path

import pytest

from cirrus.bundle.building import Bundle, Wish, build
from cirrus.bundle.unpacking import unpack


@pytest.fixture(scope="package")
def bundle() -> Bundle:
    return build(Wish.here(()))


@pytest.fixture(scope="package")
def task(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle as a function finds it."""
    folder = tmp_path_factory.mktemp("task")
    unpack(bundle.data, folder)
    return folder
