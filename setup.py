"""Builds the compiled kernel; all else is in pyproject.toml.

The kernel is optional: where it cannot be built the package installs without it and works on the
Python kernel; the wheel is then tagged pure Python. ONLINESVM_SANITIZE=1 builds it under
AddressSanitizer and UndefinedBehaviorSanitizer (tests/sanitize.sh), ONLINESVM_HASH_MASK=0xF with a
hash that collides all the time.
"""

import os
import re
import runpy
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel

# The same bits everywhere: no fused and no reordered arithmetic, no instructions of one machine
# (but for functions that are WIDER, of which the loader chooses: see memory/vector.h).
# Nobody reads the errno of sqrt.
FLAGS = [
    "-O3",
    "-ffp-contract=off",
    "-fno-fast-math",
    "-fno-math-errno",
    "-Wall",
    "-Wextra",
    "-Wno-unused-function",
    "-Wno-psabi",  # vectors are passed to no function that is not inlined
]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g", "-O1"]
GENERATED = Path("build/include")  # the header of the constants that Python and C share


def write_constants():
    """Write the shared constants as a C header; one that is there and right stays as it is, so that
    nothing is compiled again.
    """
    text = runpy.run_path("onlinesvm/kernel/constants.py")["header"]()
    header = GENERATED / "constants.h"
    GENERATED.mkdir(parents=True, exist_ok=True)
    if not header.exists() or header.read_text(encoding="utf-8") != text:
        header.write_text(text, encoding="utf-8")
    return str(header)


def extensions():
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    sanitize = SANITIZE if os.environ.get("ONLINESVM_SANITIZE") == "1" else []
    mask = os.environ.get("ONLINESVM_HASH_MASK")
    sources = glob("onlinesvm/kernel/native/*.px[di]") + glob("onlinesvm/kernel/csrc/*/*.h")
    kernel = Extension(
        "onlinesvm.kernel.native._native",
        ["onlinesvm/kernel/native/_native.pyx"],
        depends=[write_constants(), *sources],
        include_dirs=["onlinesvm/kernel/csrc", str(GENERATED)],
        extra_compile_args=FLAGS + sanitize,
        extra_link_args=sanitize,
        define_macros=[("HASH_MASK", mask)] if mask else [],
    )
    made = cythonize([kernel], build_dir="build/cython", force=bool(sanitize or mask))
    for extension in made:
        extension.optional = True  # cythonize does not carry it over
    return made


class Wheel(bdist_wheel):
    """A wheel of this platform if the kernel was built, else one for every platform."""

    def run(self):
        if self.distribution.has_ext_modules() and not self.skip_build:
            self.run_command("build")
            built = self.get_finalized_command("build_ext").get_outputs()
            if not all(os.path.exists(path) for path in built):
                self.distribution.ext_modules = []
                self.root_is_pure = True
        super().run()


def readme():
    """README.md for a package index, which has no other file: a link to one becomes its name."""
    text = Path("README.md").read_text(encoding="utf-8")
    return re.sub(r"\[([^]]*)\]\((?!https?:)([^)#]*)[^)]*\)", r"\1 (`\2`)", text)


setup(
    ext_modules=extensions(),
    cmdclass={"bdist_wheel": Wheel},
    long_description=readme(),
    long_description_content_type="text/markdown",
)
