"""The compiled kernels; everything else about the package stands in pyproject.toml.

Where there is no compiler the package is installed without them, and numpy does their work.
"""

import sys
from pathlib import Path

from setuptools import Extension, setup

SOURCES = sorted(path.as_posix() for path in Path("cirrus/native").glob("*.c"))
EXACT = ["-std=c11", "-O3", "-fvisibility=hidden", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]

setup(
    ext_modules=[
        Extension(
            "cirrus.native._kernels",
            SOURCES,
            depends=sorted(path.as_posix() for path in Path("cirrus/native").glob("*.h")),
            extra_compile_args=[] if sys.platform == "win32" else EXACT,
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
