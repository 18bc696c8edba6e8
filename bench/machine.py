"""The machine of a measurement: processor, memory, versions. No host name, no paths."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata, util
from pathlib import Path

__all__ = ["absent", "available", "description", "resident_bytes", "versions"]

_PACKAGES = (
    "onlinesvm", "numpy", "scipy", "msgpack", "pyzmq", "vowpalwabbit", "scikit-learn", "river",
    "torch",
)  # fmt: skip


def available(module: str) -> bool:
    """True if `module` can be imported here."""
    try:
        return util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def absent(need: str) -> str | None:
    """Why a contender that needs `need`, a module or "cuda", is skipped here; None if it is not."""
    if need != "cuda":
        return None if available(need) else f"{need} not installed"
    if not available("torch"):
        return "torch not installed"
    import torch

    return None if torch.cuda.is_available() else "no CUDA device"


def versions() -> dict[str, str]:
    """Package → version, those that are installed; Python and libzmq too."""
    found = {"Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    if "pyzmq" in found:
        import zmq

        found["libzmq"] = zmq.zmq_version()
    return found


def description() -> dict[str, str | int | float]:
    """Processor, its cores that this process may use, memory, system."""
    fields = _fields(Path("/proc/cpuinfo"))
    memory_kib = int(_fields(Path("/proc/meminfo")).get("MemTotal", "0 kB").split()[0])
    return {
        "cpu": fields.get("model name") or platform.processor() or platform.machine(),
        "cpu_mhz": round(float(fields.get("cpu MHz", 0))),
        "cpu_cache": fields.get("cache size", ""),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_kib / 2**20, 1),
        **_gpu(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def _gpu() -> dict[str, str]:
    """The name of the first GPU, where its driver's tool tells it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    asked = [tool, "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60)
    names = done.stdout.strip().splitlines()
    return {"gpu": names[0]} if done.returncode == 0 and names else {}


def _fields(path: Path) -> dict[str, str]:
    """The first of each ``name: value`` in a file of /proc."""
    found: dict[str, str] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            name, _, value = line.partition(":")
            found.setdefault(name.strip(), value.strip())
    return found


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
