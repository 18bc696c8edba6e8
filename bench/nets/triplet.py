"""A net of voices trained on triplets, violators only. Needs torch.

An anchor, another utterance of its speaker, and one of another speaker; their similarities are
cosines of unit vectors, and the loss is `convolution.hinge`.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray

from bench.harness import Figures
from bench.nets.convolution import Voice, hinge
from bench.nets.triples import drawn

__all__ = ["MARGIN", "trained", "vectors"]

MARGIN = 0.3
BATCH = 256


def trained(
    x: NDArray[np.float32], speakers: NDArray[np.int64], steps: int, device: str
) -> tuple[Voice, Figures]:
    """The net after `steps` batches of triplets, and `violators@step`, their share on the way."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    net = Voice().to(device)
    data = torch.from_numpy(x).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.001)
    marks = {int(steps * share) for share in (0.1, 0.25, 0.5, 0.75, 1)} | {1}
    shares: list[torch.Tensor] = []
    figures: Figures = {}
    start = 0.0
    for step in range(steps + 1):
        if step == 1:  # the first step warms up
            if device == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
        rows = np.concatenate(drawn(speakers, BATCH, random))
        anchor, positive, negative = net(data[torch.from_numpy(rows).to(device)]).chunk(3)
        loss, share = hinge((anchor * positive).sum(1), (anchor * negative).sum(1), MARGIN)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        shares.append(share)
        if step in marks:
            last = shares[-10:] if step > 1 else shares[:1]
            figures[f"violators@{step}"] = float(torch.stack(last).mean())
    seconds = time.perf_counter() - start
    figures |= {
        "violators_first": figures["violators@1"],
        "violators_last": figures[f"violators@{steps}"],
        "triplets_per_s": steps * BATCH / seconds,
    }
    return net, figures


def vectors(net: Voice, x: NDArray[np.float32], device: str) -> NDArray[np.float64]:
    """The unit vectors of spectrograms, float64[n, size]."""
    with torch.inference_mode():
        found: NDArray[np.float64] = net(torch.from_numpy(x).to(device)).double().cpu().numpy()
    return found
