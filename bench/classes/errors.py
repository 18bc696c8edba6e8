"""Errors beside the peers: of one order, and their means over several.

Peers' figures are kept in a folder, by data, peer and its version: figures that are there are not
measured again.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from bench.classes import tags
from bench.classes.peers import HEDGES, PEERS, Mistakes, hedges
from bench.classes.sets import Data, Tagged
from onlinesvm import kernel as kernels
from onlinesvm.model.classes import ClassHead

__all__ = ["Kept", "judged", "judged_tags", "means", "ours"]

_BATCH = 1024
_BINS = 15


class Kept:
    """Figures in files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def figure(self, peer: str, package: str, crc: int, measured: Callable[[], float]) -> float:
        """The figure of a peer on the data of that checksum, measured where it is not kept."""
        version = metadata.version(package)
        path = self._folder / f"{peer.replace(' ', '-')}-{version}-{crc:08x}.json"
        if path.exists():
            return float(json.loads(path.read_text())["figure"])
        start = time.perf_counter()
        figure, seconds = measured(), time.perf_counter() - start
        path.write_text(json.dumps({"figure": figure, "seconds": round(seconds, 1)}) + "\n")
        print(f"  {peer} {figure:.5f} {seconds:.0f} s", file=sys.stderr, flush=True)
        return figure


def _is_there(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def ours(data: Data) -> tuple[Mistakes, float]:
    """Our mistakes, and the calibration error over the later half."""
    learner = ClassHead(kernels.load(), True, 100_000, 128).rule
    n = len(data.labels)
    predicted, confident = [], []
    for start in range(0, n, _BATCH):
        stop = min(n, start + _BATCH)
        weights = np.ones(stop - start)
        learned = learner.learn(data.csr.rows(start, stop), data.labels[start:stop], weights)
        predicted.append(learned.predicted)
        confident.append(learned.confidences)
    wrong = np.concatenate(predicted) != data.labels
    p, right = np.concatenate(confident)[n // 2 :], ~wrong[n // 2 :]
    at = np.minimum(_BINS - 1, (p * _BINS).astype(int))
    off = sum(abs(float(p[at == k].sum()) - float(right[at == k].sum())) for k in range(_BINS))
    return wrong, off / len(p)


def judged(data: Data, only: list[str], kept: Kept, *, is_first: bool) -> dict[str, Any]:
    """Our error and calibration error, the peers' errors, and ours over the best of them.

    is_first: the set's first order, in which slow peers are measured too.
    """
    wrong, calibration = ours(data)
    mine = float(wrong.mean())
    errors, skipped = {}, []
    for name, peer in PEERS.items():
        if name not in only:
            continue
        if not _is_there(peer.package):
            skipped.append(f"{name}: {peer.package} is not installed")
        elif data.classes > peer.most:
            skipped.append(f"{name}: slow at {data.classes} labels")
        elif is_first or data.classes <= peer.often:
            errors[name] = kept.figure(
                name, peer.package, data.crc, lambda learn=peer.learn: float(learn(data).mean())
            )
    best = min(errors, key=lambda name: errors[name], default=None)
    of_hedges = float(hedges(data).mean()) if HEDGES in only else None
    print(f"  ours {mine:.5f}, best {best}, K hedges {of_hedges}", file=sys.stderr, flush=True)
    return {
        "figure": mine,
        "calibration_error": calibration,
        "peers": errors,
        "skipped": skipped,
        "best_peer": best,
        "over_best_peer": mine / errors[best] if best else None,
        "hedges": of_hedges,
        "over_hedges": mine / of_hedges if of_hedges else None,
    }


def judged_tags(data: Tagged, only: list[str], kept: Kept, *, is_first: bool) -> dict[str, Any]:
    """Our micro-F1 and the peers', in the first order those of slow ones too."""
    mine = tags.micro_f1(data, tags.ours(data))
    found, skipped = {}, []
    for name, peer in tags.TAG_PEERS.items():
        if name not in only or not (is_first or peer.is_fast):
            continue
        if not _is_there(peer.package):
            skipped.append(f"{name}: {peer.package} is not installed")
            continue
        found[name] = kept.figure(
            f"{name} of tags", peer.package, data.crc,
            lambda learn=peer.learn: tags.micro_f1(data, learn(data)),
        )  # fmt: skip
    print(f"  ours {mine:.5f}", file=sys.stderr, flush=True)
    return {"figure": mine, "peers": found, "skipped": skipped}


def means(orders: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of each figure over the orders of a set; of a peer that the later ones lack, the
    figure in the first. The first counts where it is alone: it was looked at while the learner was
    made.
    """
    counted = orders[1:] or orders
    figures = {
        name: statistics.fmean(order[name] for order in counted)
        for name in ("figure", "calibration_error", "over_best_peer", "hedges", "over_hedges")
        if all(order.get(name) is not None for order in counted)
    }
    peers, once = {}, []
    for name, figure in orders[0]["peers"].items():
        if all(name in order["peers"] for order in counted):
            peers[name] = statistics.fmean(order["peers"][name] for order in counted)
        else:
            peers[name] = figure
            once.append(name)
    bests = sorted({order["best_peer"] for order in counted if order.get("best_peer")})
    skipped = orders[0]["skipped"]
    return {**figures, "peers": peers, "once": once, "best_peers": bests, "skipped": skipped}
