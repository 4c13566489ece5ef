"""Where there is a C compiler the package has compiled loops: a build that broke would else go unnoticed."""

import os
import shutil
import sysconfig

import pytest

from cirrus.native.choice import SWITCH, kernels

COMPILER = (sysconfig.get_config_var("CC") or "cc").split()[0]


def test_where_there_is_a_compiler_the_loops_are_compiled() -> None:
    if shutil.which(COMPILER) is None or os.environ.get(SWITCH) == "0":
        pytest.skip(f"no {COMPILER}, or compiled loops are switched off")
    assert kernels() is not None
