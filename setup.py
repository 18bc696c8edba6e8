"""Builds the compiled kernel; all else is in pyproject.toml.

The kernel is optional: where it cannot be built the package installs without it and works on the
Python kernel. ONLINESVM_SANITIZE=1 builds it under AddressSanitizer and UndefinedBehaviorSanitizer
(tests/sanitize.sh), ONLINESVM_HASH_MASK=0xF with a hash that collides all the time.
"""

import os
from glob import glob

from setuptools import Extension, setup

# The same bits everywhere: no fused and no reordered arithmetic, no instructions of one machine.
# Nobody reads the errno of sqrt.
FLAGS = [
    "-O3",
    "-ffp-contract=off",
    "-fno-fast-math",
    "-fno-math-errno",
    "-Wall",
    "-Wextra",
    "-Wno-unused-function",
]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g", "-O1"]


def extensions():
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    sanitize = SANITIZE if os.environ.get("ONLINESVM_SANITIZE") == "1" else []
    mask = os.environ.get("ONLINESVM_HASH_MASK")
    kernel = Extension(
        "onlinesvm.kernel.native._native",
        ["onlinesvm/kernel/native/_native.pyx"],
        depends=glob("onlinesvm/kernel/native/*.px[di]") + glob("onlinesvm/kernel/csrc/*/*.h"),
        include_dirs=["onlinesvm/kernel/csrc"],
        extra_compile_args=FLAGS + sanitize,
        extra_link_args=sanitize,
        define_macros=[("HASH_MASK", mask)] if mask else [],
    )
    made = cythonize([kernel], build_dir="build/cython", force=bool(sanitize or mask))
    for extension in made:
        extension.optional = True  # cythonize does not carry it over
    return made


setup(ext_modules=extensions())
