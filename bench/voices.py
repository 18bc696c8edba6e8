"""Whose voice is it? A net trained on triplets, pairwise hinge, and cosines of raw spectra."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.harness import Bench, Figures, Job, Target
from bench.nets import pairwise, spectrogram, triples, verification
from bench.published import Claim

ENROLLED = 10
RATES = (0.01, 0.1, 1.0)
BASELINE = "cosine of raw spectra"

bench = Bench(
    name="voices",
    question="Speakers distinguished by their voice: triplets, pairwise hinge, cosines",
    caveats=(
        "Synthetic voices, 128 bins and 44 frames: 40 speakers to learn from, 20 others to test, 30"
        " utterances each. An utterance is a speaker's if the mean of its five highest similarities"
        " to ten known ones is above a threshold, the best one on the speakers to learn from."
        " `balanced_error` is the mean of false rejections and false acceptances; `named_error` the"
        " share of utterances that are more like another speaker.",
        "`pair_error` is the share of 20,000 triplets of the test whose anchor is no more like its"
        " own than like another speaker's.",
        "cosine of raw spectra: the mean and the deviation of each bin over the frames. torch"
        " triplet: three convolutions over time, the mean over all frames, unit vectors, margin"
        " 0.3, the mean loss of the violators; Adam, 0.001, batches of 256. `violators@N` is their"
        " share after N batches, over the last ten.",
        "pairwise hinge: a weight for each dimension of the raw spectra's cosine, margin 1, one"
        " pass over drawn triplets. Both are handed both sides: ours, the task ranking at its"
        " defaults, as dicts, and learns pair by pair; torch as tensors, in batches of 256, by the"
        " rate of least progressive error of 0.01 to 1. One thread each.",
    ),
    axis="step",
    short={"rounds": 1, "steps": 100, "triplets": 20_000},
    full={"rounds": 1, "steps": 800, "triplets": 200_000},
    targets=(
        Target("ours, pairwise hinge, hedge", "torch, pairwise hinge", "pair_error",
               lower_is_better=True),
        Target("ours, pairwise hinge, sgd", "torch, pairwise hinge", "pair_error",
               lower_is_better=True),
        Target("ours, pairwise hinge, sgd", "torch, pairwise hinge", "pairs_per_s"),
        Target("ours, pairwise hinge, hedge", "torch, triplet", "pair_error",
               lower_is_better=True),
    ),
    claims=(
        *(
            claim
            for device in ("", ", CUDA")
            for claim in (
                Claim("Ever fewer triplets violate the margin of 0.3", "stated",
                      f"torch, triplet{device}", "violators_last", over="violators_first",
                      at_most=0.5, unit="× the first share"),
                Claim("The triplet net errs less than the top five cosines", "–",
                      f"torch, triplet{device}", "balanced_error", peer=BASELINE, at_most=1,
                      unit="× the error"),
            )
        ),
        Claim("Pairwise hinge orders unseen pairs better than the cosine", "–",
              "ours, pairwise hinge, hedge", "pair_error", peer=BASELINE, at_most=1,
              unit="× the error"),
    ),
)  # fmt: skip


class Voices(NamedTuple):
    """Spectrograms and their speakers, to learn from or to test."""

    x: NDArray[np.float32]
    speakers: NDArray[np.int64]

    @property
    def raw(self) -> NDArray[np.float64]:
        """The mean and the deviation of each bin over the frames, float64[n, 2·BINS]."""
        return np.concatenate([self.x.mean(2), self.x.std(2)], axis=1).astype(np.float64)


def voices() -> tuple[Voices, Voices]:
    """40 speakers to learn from, 20 to test."""
    return Voices(*spectrogram.spectrograms(40, 30, 0)), Voices(
        *spectrogram.spectrograms(20, 30, 1)
    )


def _verified(
    train: NDArray[np.float64],
    test: NDArray[np.float64],
    given: tuple[Voices, Voices],
    score: verification.Score,
) -> Figures:
    """The errors of the test, by vectors of the utterances and their similarities."""
    anchor, own, other = triples.drawn(given[1].speakers, 20_000, np.random.default_rng(2))
    alike = score(test, test)
    found = verification.verified(
        (train, given[0].speakers), (test, given[1].speakers), ENROLLED, score
    )
    del found["threshold"]
    return {**found, "pair_error": float(np.mean(alike[anchor, own] <= alike[anchor, other]))}


@bench.contender(BASELINE)
def raw(job: Job) -> Figures:
    given = voices()
    return _verified(given[0].raw, given[1].raw, given, verification.cosine)


def _triplet(device: str) -> Callable[[Job], Figures]:
    def run(job: Job) -> Figures:
        from bench.nets import triplet

        given = voices()
        net, figures = triplet.trained(*given[0], job.sizes["steps"], device)
        found = [triplet.vectors(net, part.x, device) for part in given]
        return _verified(found[0], found[1], given, verification.cosine) | figures

    return run


# Learned from the products of better and worse pairs: the weights and figures of the learning.
Learner = Callable[[NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], Figures]]


def _pairwise(learn: Learner, job: Job) -> Figures:
    given = voices()
    rows = given[0].raw
    random = np.random.default_rng(1)
    anchor, own, other = triples.drawn(given[0].speakers, job.sizes["triplets"], random)
    weights, figures = learn(
        pairwise.products(rows[anchor], rows[own]), pairwise.products(rows[anchor], rows[other])
    )

    def score(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return pairwise.alike(a, b, weights)

    return _verified(rows, given[1].raw, given, score) | figures


def _ours(rule: str) -> Callable[[Job], Figures]:
    return partial(_pairwise, partial(pairwise.ours, rule=rule))


def _torch(device: str) -> Callable[[Job], Figures]:
    def learn(
        better: NDArray[np.float64], worse: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], Figures]:
        runs = [pairwise.torch_hinge(better, worse, rate, device) for rate in RATES]
        return min(runs, key=lambda found: found[1]["progressive_pair_error"])

    return partial(_pairwise, learn)


for _rule in ("hedge", "sgd"):
    bench.contender(f"ours, pairwise hinge, {_rule}", kernel="native")(_ours(_rule))
for _device, _where in (("cpu", ""), ("cuda", ", CUDA")):
    _needs = ("torch",) if _device == "cpu" else ("cuda",)
    bench.contender(f"torch, pairwise hinge{_where}", needs=_needs)(_torch(_device))
    bench.contender(f"torch, triplet{_where}", needs=_needs)(_triplet(_device))

if __name__ == "__main__":
    sys.exit(bench.main())
