"""A bundle is the same whenever it is built, small, without what workers do not need, and fit for its function."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cirrus.bundle import elf
from cirrus.bundle.building import LIBRARY, MANIFEST, Bundle, Wish, _add, build
from cirrus.bundle.contents import contents
from cirrus.bundle.interpreters import FORBIDDEN, interpreter, try_imports
from cirrus.bundle.wheels import PACKAGES
from cirrus.cli.main import main
from cirrus.cli.output import OUTSIDE, WRONG
from cirrus.errors import OutsideError, PipelineError

pytestmark = pytest.mark.timeout(600)  # pip downloads what bundles are made of

UNCHECKED = 1
"""The second word of a file of bytecode that nobody compares with its source."""


def files(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def fit(data: bytes, python: str, architecture: str) -> None:
    """Everything compiled is for that machine and its C library."""
    found = {name: elf.machine(one) for name, one in files(data).items() if ".so" in name}
    assert set(found.values()) == {architecture}
    assert all(elf.needed(one) <= LIBRARY[python] for name, one in files(data).items() if ".so" in name)


def test_two_builds_are_the_same(bundle: Bundle, tmp_path: Path) -> None:
    wish = ["--python", bundle.manifest["python"], "--architecture", bundle.manifest["architecture"]]
    words = [sys.executable, "-m", "cirrus", "bundle", "--json", "--output", "b.zip", *wish]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["sha256"] == bundle.sha256 == hashlib.sha256((tmp_path / "b.zip").read_bytes()).hexdigest()
    assert told["path"] == "b.zip"
    assert (told["zip_bytes"], told["unzipped_bytes"]) == (len(bundle.data), bundle.unzipped)
    assert told["packages"] == bundle.manifest["packages"]


def test_it_is_small(bundle: Bundle) -> None:
    assert len(bundle.data) <= 22 * 2**20
    assert sum(map(len, files(bundle.data).values())) == bundle.unzipped <= 75 * 2**20


def test_the_manifest_has_every_file_with_its_hash(bundle: Bundle) -> None:
    found = files(bundle.data)
    manifest = json.loads(found.pop(MANIFEST))
    assert manifest == bundle.manifest
    assert manifest["files"] == {name: hashlib.sha256(one).hexdigest() for name, one in found.items()}
    assert manifest["handler"] == "lambda_handler.handler.handler"
    assert set(PACKAGES) <= {name.replace("-", "_") for name in manifest["packages"]}
    assert manifest["imports"] == "tried"


def test_all_of_it_is_compiled_for_good(bundle: Bundle) -> None:
    found = files(bundle.data)
    tag = sys.implementation.cache_tag
    ours = [name for name in found if name.startswith(("cirrus/", "lambda_handler/")) and name.endswith(".py")]
    assert len(ours) > 50
    for name in ours:
        folder, _, stem = name.rpartition("/")
        assert f"{folder}/__pycache__/{stem.removesuffix('.py')}.{tag}.pyc" in found
    compiled = [one for name, one in found.items() if name.endswith(".pyc")]
    assert {int.from_bytes(one[4:8], "little") for one in compiled} == {UNCHECKED}
    assert not any(b"cirrus-bundle-" in one for one in compiled), "where it was built stands in tracebacks"


def test_what_is_compiled_fits_the_function(bundle: Bundle) -> None:
    fit(bundle.data, bundle.manifest["python"], bundle.manifest["architecture"])
    kernels = "cirrus/native/_kernels.abi3.so" in files(bundle.data)
    assert kernels == (bundle.manifest["kernels"] == "compiled")


def test_it_has_the_modules_of_workers_and_no_others(bundle: Bundle) -> None:
    found = set(files(bundle.data))
    assert {"cirrus/actors/worker.py", "cirrus/store/s3_lean.py", "cirrus/learn/ftrl.py"} <= found
    assert not {"cirrus/driver.py", "cirrus/cli/main.py", "cirrus/store/s3_client.py", "cirrus/actors/shard.py"} & found
    assert not {name.partition("/")[0] for name in found} & {*FORBIDDEN, "pip", "tests", "bin"}
    assert contents().foreign - sys.stdlib_module_names <= set(PACKAGES)


def test_for_another_python_with_packages_and_files_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import six\nassert six.PY3\n")
    (tmp_path / "kernels/deep").mkdir(parents=True)
    (tmp_path / "kernels/__init__.py").write_text("from kernels.deep import model\n")
    (tmp_path / "kernels/deep/model.py").write_text("")
    (tmp_path / "kernels/.git").write_text("not this one")
    python = "3.12" if sys.version_info[:2] != (3, 12) else "3.13"
    built = build(Wish(python, "x86_64", ("six>=1.16",), (tmp_path / "own.py", tmp_path / "kernels")))
    found = files(built.data)
    assert {"own.py", "six.py", "kernels/__init__.py", "kernels/deep/model.py"} <= set(found)
    assert "kernels/.git" not in found
    assert "six" in built.manifest["packages"]
    compiled = any(name.endswith(f".cpython-{python.replace('.', '')}.pyc") for name in found)
    assert compiled == (interpreter(python) is not None) == (built.manifest["bytecode"] == "unchecked")
    fit(built.data, python, "x86_64")


def test_for_another_machine_numpy_does_the_work(bundle: Bundle) -> None:
    other = "arm64" if bundle.manifest["architecture"] == "x86_64" else "x86_64"
    built = build(Wish("3.13", other))
    fit(built.data, "3.13", other)
    assert built.manifest["kernels"].startswith("numpy: nothing is compiled for")
    assert built.manifest["imports"].startswith("not tried")
    assert len(built.data) <= 22 * 2**20
    assert built.unzipped <= 75 * 2**20


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--python", "3.10"], "bundle.python"),
        (["--architecture", "riscv"], "bundle.architecture"),
        (["--with=--index-url=http://elsewhere"], "bundle.with"),
        (["--with", "git+https://elsewhere/it"], "bundle.with"),
        (["--with", "../it"], "bundle.with"),
        (["--source", "not-there.py"], "bundle.source"),
    ],
)
def test_what_cannot_be_wished_for_is_named(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundle", *options]) == WRONG
    assert words in capsys.readouterr().err


def test_a_package_without_a_wheel_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["bundle", "--with", "cirrus-serverless==0.0.0.0", "--output", str(tmp_path / "b.zip")]) == OUTSIDE
    assert "cirrus-serverless==0.0.0.0" in capsys.readouterr().err
    assert not (tmp_path / "b.zip").exists()


def test_files_of_the_users_own_neither_lead_away_nor_replace_others(tmp_path: Path) -> None:
    folder = tmp_path / "task"
    (folder / "cirrus").mkdir(parents=True)
    (folder / "cirrus/errors.py").write_text("")
    (tmp_path / "mine/cirrus").mkdir(parents=True)
    (tmp_path / "mine/cirrus/errors.py").write_text("")
    with pytest.raises(PipelineError, match="not taken"):
        _add(tmp_path / "mine/cirrus", folder)
    (tmp_path / "mine/link.py").symlink_to("/etc/passwd")
    with pytest.raises(PipelineError, match="no links"):
        _add(tmp_path / "mine", folder)


def test_what_cannot_be_imported_or_loads_too_much_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import not_in_the_bundle\n")
    (tmp_path / "scipy.py").write_text("print('a module may print')\n")
    with pytest.raises(OutsideError, match="not_in_the_bundle"):
        try_imports(sys.executable, tmp_path, ("broken",))
    with pytest.raises(OutsideError, match="imports scipy"):
        try_imports(sys.executable, tmp_path, ("scipy",))
    try_imports(sys.executable, tmp_path, ("scipy",), forbidden=())
