"""The rooms of the house: imports run one way."""

from __future__ import annotations

import ast
import graphlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

HOUSE = Path(__file__).resolve().parent.parent


class Import(NamedTuple):
    module: str
    line: int
    when: str  # "load"; "use", inside a function; "typing", never run


def files(folder: str) -> list[Path]:
    """The Python files of a folder at the top; onlinesvm/service is a link to one of those."""
    found = []
    for path, folders, names in os.walk(HOUSE / folder):  # does not follow links
        folders[:] = [name for name in folders if not (Path(path) / name).is_symlink()]
        found += [Path(path) / name for name in names if name.endswith(".py")]
    return sorted(found)


def module_of(path: Path) -> str:
    parts = list(path.relative_to(HOUSE).with_suffix("").parts)
    if parts[0] == "service":
        parts.insert(0, "onlinesvm")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[Import]:
    def visit(node: ast.AST, when: str) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(name.name, node.lineno, when) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            for name in node.names:  # maybe a room, maybe what it defines
                yield Import(f"{node.module}.{name.name}", node.lineno, when)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            when = "use"
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            when = "typing"
        for child in ast.iter_child_nodes(node):
            yield from visit(child, when)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), "load")


def offenders(folder: str, forbidden: set[str], *, on_load_only: bool = False) -> list[str]:
    return [
        f"{path.relative_to(HOUSE)}:{found.line} imports {found.module}"
        for path in files(folder)
        for found in imports(path)
        if found.when == "load" or not on_load_only
        if any(found.module == name or found.module.startswith(name + ".") for name in forbidden)
    ]


def outsiders(folder: str) -> set[str]:
    """The packages from outside that a folder imports."""
    tops = {found.module.partition(".")[0] for path in files(folder) for found in imports(path)}
    # compression is of the standard library from 3.14 on.
    return tops - set(sys.stdlib_module_names) - {"onlinesvm", "compression"}


def test_the_learner_knows_no_service_and_no_socket() -> None:
    assert len(files("onlinesvm")) > 10
    assert not [path for path in files("onlinesvm") if "service" in path.parts]
    # Two doors to the service: the clients, loaded at their first use, and `python -m onlinesvm`.
    found = offenders("onlinesvm", {"onlinesvm.service", "zmq", "socket"})
    doors = {"onlinesvm/__init__.py", "onlinesvm/__main__.py"}
    assert {line.partition(":")[0] for line in found} == doors
    loaded = offenders("onlinesvm", {"onlinesvm.service", "zmq", "socket"}, on_load_only=True)
    assert [line for line in loaded if not line.startswith("onlinesvm/__main__.py:")] == []
    extras = {"narwhals", "sklearn"}  # onlinesvm[frames], onlinesvm[sklearn]: imported on first use
    assert outsiders("onlinesvm") <= {"numpy", "scipy", "msgpack"} | extras


def test_the_service_imports_what_it_declares() -> None:
    # onlinesvm[completion], [redis], [http], [top], [dask]: imported on first use
    extras = {
        "shtab", "redis", "hiredis", "starlette", "uvicorn", "prometheus_client", "rich",
        "distributed",
    }  # fmt: skip
    assert outsiders("service") <= {"numpy", "scipy", "msgpack", "zmq", "tqdm"} | extras


@pytest.mark.parametrize("folder", ["onlinesvm", "service", "tests"])
def test_torch_stays_with_the_benchmarks(folder: str) -> None:
    found = offenders(folder, {"torch", "bench"})
    # The benches have a test too.
    assert [line for line in found if not line.startswith("tests/test_bench.py")] == []


@pytest.mark.parametrize("folder", ["onlinesvm", "service"])
def test_scipy_is_imported_on_first_use(folder: str) -> None:
    assert offenders(folder, {"scipy"}, on_load_only=True) == []


@pytest.mark.parametrize("folder", ["onlinesvm", "service"])
def test_no_two_rooms_import_each_other(folder: str) -> None:
    rooms = {module_of(path): path for path in files(folder)}
    rooms.pop("onlinesvm", None)  # loads the clients at their first use
    graph: dict[str, set[str]] = {}
    for room, path in rooms.items():
        typed = folder == "onlinesvm"  # imports for types alone count there too
        given = {found.module for found in imports(path) if typed or found.when != "typing"}
        graph[room] = {m if m in rooms else m.rpartition(".")[0] for m in given} & set(rooms)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize(
    "folder", ["data", "text", "readers", "model", "metrics", "snapshot", "kernel", "mixing"]
)
def test_a_folder_imports_the_rooms_that_it_names(folder: str) -> None:
    top = HOUSE / "onlinesvm" / folder
    described = ast.get_docstring(ast.parse((top / "__init__.py").read_text(encoding="utf-8")))
    sentence = re.search(r"May import ([^.]*)\.", described or "")
    assert sentence is not None, f"{folder}: expected a sentence 'May import …' in its __init__"
    named = set(re.findall(r"`(\w+)`", sentence[1]))
    found = {
        found.module.split(".")[1]
        for path in files(f"onlinesvm/{folder}")
        for found in imports(path)
        if found.module.startswith("onlinesvm.")
    }
    assert found - {folder} <= named


def test_a_rule_knows_no_snapshot_and_no_kernel() -> None:
    assert offenders("onlinesvm/model/rules", {"onlinesvm.snapshot", "onlinesvm.kernel"}) == []


def test_the_compiled_kernel_imports_no_formula() -> None:
    folder = HOUSE / "onlinesvm/kernel/native"
    for path in (*folder.glob("*.pyx"), *folder.glob("*.pxi")):
        text = path.read_text(encoding="utf-8")
        assert "from onlinesvm.model" not in text, path
        assert "from onlinesvm.data.codec" not in text, path


def loaded_by(statements: str) -> set[str]:
    """Which of the heavy packages are there after `statements`, in a Python of their own."""
    heavy = "{'numpy', 'scipy', 'zmq', 'torch', 'tqdm', 'msgpack'}"
    done = subprocess.run(
        [sys.executable, "-c", f"{statements}; import sys; print(*{heavy} & set(sys.modules))"],
        cwd=HOUSE,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_learner_by_itself_loads_little() -> None:
    assert loaded_by("import onlinesvm") == set()
    assert loaded_by("import onlinesvm.service.cli.main") == set()
    learning = "import onlinesvm; onlinesvm.OnlineSVM().learn_one(['a'], 1)"
    assert loaded_by(learning) == {"msgpack", "numpy"}
    scored = "m.learn_one(['a'], 1); onlinesvm.Scorer(m).score([['a']], path='padded')"
    assert loaded_by(f"import onlinesvm; m = onlinesvm.OnlineSVM(); {scored}") == {
        "msgpack",
        "numpy",
    }
    fitting = "import numpy as np, onlinesvm; onlinesvm.OnlineSVM().partial_fit(np.eye(1), [1])"
    assert loaded_by(fitting) == {"msgpack", "numpy", "scipy"}


def test_a_command_loads_what_it_needs(tmp_path: Path) -> None:
    """Each package costs tens of milliseconds at every start."""
    (tmp_path / "rows.svm").write_text("1 1:1\n-1 2:1\n")
    learn = ["learn", "--file", f"{tmp_path}/m", f"{tmp_path}/rows.svm"]
    quiet = "import os, sys; sys.stdout = open(os.devnull, 'w')"
    command = f"from onlinesvm.service.cli.main import main; {quiet}; code = main({learn})"
    loaded = loaded_by(f"{command}; sys.stdout = sys.__stdout__; assert code == 0")
    assert loaded == {"msgpack", "numpy"}
    for words in (["--version"], ["--help"]):
        asked = f"with contextlib.suppress(SystemExit): main({words})"
        given = "import contextlib; from onlinesvm.service.cli.main import main"
        assert loaded_by(f"{given}; {quiet}\n{asked}\nsys.stdout = sys.__stdout__") == set(), words


def test_the_clients_are_loaded_at_their_first_use() -> None:
    shown = "import onlinesvm; onlinesvm.Client, onlinesvm.AsyncClient"
    assert loaded_by(shown) == {"msgpack", "numpy", "zmq"}
    import onlinesvm
    from onlinesvm import service

    assert onlinesvm.Client is service.Client
    assert onlinesvm.AsyncClient is service.AsyncClient
    assert {"Client", "AsyncClient"} <= set(dir(onlinesvm))
    with pytest.raises(AttributeError, match="has no attribute 'Cliant'"):
        getattr(onlinesvm, "Cliant")  # noqa: B009


def test_the_service_by_itself_leaves_scipy_out() -> None:
    assert not loaded_by("import onlinesvm.service") & {"scipy", "torch"}


def test_make_help_lists_every_target() -> None:
    text = (HOUSE / "Makefile").read_text("utf-8").replace("\\\n", " ")
    targets = re.findall(r"^\.PHONY: (.*)$", text, re.M)[0].split()
    done = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=HOUSE,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    listed = [line.split()[0] for line in done.stdout.splitlines()]
    assert sorted(listed) == sorted(targets)
    assert max(map(len, done.stdout.splitlines())) <= 100
