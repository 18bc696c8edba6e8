"""Sphinx: the site of README, docs and bench, by `make docs`."""

import sys
from pathlib import Path

HOUSE = Path(__file__).parent.parent
sys.path.insert(0, str(HOUSE))

from onlinesvm.version import __version__  # noqa: E402

project = "onlinesvm"
copyright = "the onlinesvm authors"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.doctest"]
root_doc = "README"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs/**.md",
    "bench/README.md",
]
html_theme = "furo"
html_title = f"onlinesvm {__version__}"
html_show_sphinx = False
myst_heading_anchors = 4
doctest_global_setup = "from onlinesvm import *"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"

# The pages of the site by chapter. README has no list of its own: a reader of the file has a table.
CHAPTERS = {
    "Using it": "semantics rules formats later configuration python threads wire http vectors",
    "Cookbook": "cookbook/*",
    "Operating it": "operations durability ingest scaling security benchmarks /bench/README",
    "Its code": "api architecture kernels /CONTRIBUTING /SECURITY /CHANGELOG",
}


def pages_of(chapter: str) -> list[str]:
    """The pages of a chapter that exist, as Sphinx names them."""
    pages: list[str] = []
    for name in chapter.split():
        if name.startswith("/"):
            pages.append(name)
        else:
            found = sorted((HOUSE / "docs").glob(f"{name}.md"))
            pages += [f"/{path.relative_to(HOUSE).with_suffix('')}" for path in found]
    return pages


def add_chapters(app: object, page: str, source: list[str]) -> None:
    """Give the first page the list of all, which Sphinx makes the side bar of."""
    if page == root_doc:
        for caption, chapter in CHAPTERS.items():
            pages = "\n".join(pages_of(chapter))
            source[0] += f"\n```{{toctree}}\n:caption: {caption}\n:hidden:\n\n{pages}\n```\n"


def setup(app: object) -> None:
    app.connect("source-read", add_chapters)  # type: ignore[attr-defined]
