"""Rates and memory of ours and of VW's driver, each run in a process of its own."""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import machine
from bench.classes.peers import vw_command, write_vw
from bench.classes.sets import Data, read
from onlinesvm import OnlineSVM
from onlinesvm.data.codec import pack_array
from onlinesvm.data.objects import Packer

__all__ = ["RATES", "child", "rates"]

RATES = {20: 1.0, 100: 1.3, 700: 2.5}  # labels of `maintainers`, and the rate wanted, of VW's
_BATCH = 1024
_SHORTEST_S = 0.2  # of VW, below which nothing is measured
_DEADLINE_S = 900


def learn_names(data: Data) -> dict[str, float]:
    """Bytes of requests → learned and counted samples: rates, and resident bytes a feature."""
    packer = Packer()
    indptr, indices, _ = (column.tolist() for column in data.csr)
    rows = itertools.pairwise(indptr)
    parts = [
        packer.sample([data.names[j] for j in indices[a:b]], f"label {label}")
        for (a, b), label in zip(rows, data.labels.tolist(), strict=True)
    ]
    requests = [pack_array(parts[k : k + _BATCH]) for k in range(0, len(parts), _BATCH)]
    del parts
    model = OnlineSVM(task="multiclass")
    before = machine.resident_bytes()
    start, start_cpu = time.perf_counter(), time.process_time()
    for body in requests:
        model.learn_batch(model.decode(body, labelled=True))
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    grown = machine.resident_bytes() - before
    return {
        "samples_per_s": len(data.labels) / seconds,
        "samples_per_cpu_s": len(data.labels) / cpu,
        "bytes_a_feature": (grown - model.name_bytes) / len(model.lookup),
        "error": float(model.progressive.error or 0.0),
    }


def vowpal_wabbit(data: Data) -> dict[str, float]:
    """VW's driver over its text, less its start-up."""
    with tempfile.TemporaryDirectory() as folder:
        text, empty = Path(folder) / "in.vw", Path(folder) / "none.vw"
        empty.touch()
        write_vw(text, [str(label + 1) for label in data.labels.tolist()], data.csr, data.names)

        def seconds(path: Path) -> NDArray[np.float64]:
            """Wall and processor seconds."""
            start, before = time.perf_counter(), os.times()
            flags = ("--oaa", "K", "--loss_function", "hinge")
            subprocess.run(vw_command(data, path, *flags), check=True, capture_output=True)
            after = os.times()
            cpu = after.children_user + after.children_system
            cpu -= before.children_user + before.children_system
            return np.array([time.perf_counter() - start, cpu])

        startup = np.median([seconds(empty) for _ in range(3)], axis=0)
        wall, cpu = np.maximum(_SHORTEST_S, seconds(text) - startup)
        n = len(data.labels)
        return {"samples_per_s": n / wall, "samples_per_cpu_s": n / cpu}


_CONTENDERS = {"ours": learn_names, "VW": vowpal_wabbit}


def child(contender: str, labels: int) -> None:
    """Print the figures of one contender, in JSON."""
    print(json.dumps(_CONTENDERS[contender](read("maintainers").frequent(labels))))


def _run(contender: str, labels: int) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.classes", "--child", contender, str(labels)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_DEADLINE_S)
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def rates(rounds: int) -> dict[str, Any]:
    """Medians over the rounds, contenders in turn, by the number of labels."""
    found: dict[str, Any] = {}
    has_vw = machine.available("vowpalwabbit")
    for labels, wanted in RATES.items():
        runs: dict[str, list[dict[str, float]]] = {"ours": [], "VW": []}
        for _ in range(rounds):
            runs["ours"].append(_run("ours", labels))
            if has_vw:
                runs["VW"].append(_run("VW", labels))
        figures = {k: statistics.median(run[k] for run in runs["ours"]) for k in runs["ours"][0]}
        for name in runs["VW"][0] if has_vw else ():
            peer = statistics.median(run[name] for run in runs["VW"])
            figures |= {f"vw_{name}": peer, f"{name}_over_vw": figures[name] / peer}
        found[str(labels)] = {**figures, "wanted": wanted, "load": round(os.getloadavg()[0], 2)}
        print(f"{labels} labels: {found[str(labels)]}", file=sys.stderr, flush=True)
    return found
