"""The state of the learner of many classes, as a view has it, and what of it can be.

By feature, ids from 1:

    mean_squares   float64[n]    s², 0 where none was seen
    ages, runs     int64[n]      how many values it is of; how many were out of proportion in a row
    seen           int64[n]
    second_orders  float32[4n]   S and the three G
    row_lengths    int32[n]      how many labels each feature knows

By entry, feature after feature: row_labels int32[m], row_weights float32[4m] (by expert).
Where features lie in several views, or are of texts: views uint8[n], the tag of each feature, and
view_samples int64[4], how many samples had a text's feature of each view.

By label: label_states uint8[k] (0 never learned, 1 known, 2 dropped), bias_weights float32[4k].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.metrics import temperature, threshold
from onlinesvm.model.rules import mixture
from onlinesvm.model.rules.constants import CLASS_EXPERTS as EXPERTS
from onlinesvm.model.rules.constants import CLASS_LEAST_ROW as LEAST_ROW
from onlinesvm.model.rules.constants import CLASS_MOST_LABELS as MOST_LABELS
from onlinesvm.model.rules.constants import HEDGE_LEAST_SQUARE as LEAST_SQUARE
from onlinesvm.model.rules.constants import HEDGE_LEAST_VARIANCE as LEAST_VARIANCE
from onlinesvm.model.rules.constants import HEDGE_MOST_AGE as MOST_AGE
from onlinesvm.model.rules.constants import HEDGE_RUN as RUN
from onlinesvm.model.rules.layout import SAMPLES, Layout, Span, check_array
from onlinesvm.text.constants import OF_TEXT, VIEWS

__all__ = ["EXPERTS", "JUDGED", "N", "ClassLayout", "SetLayout"]

N = len(EXPERTS)
JUDGED = ("errors", "losses", "recent_errors", "recent_losses")
BIAS = ("bias_arow_variance", *(f"bias_{name}_square" for name in EXPERTS[1:]))
TEMPERATURE = tuple(f"temperature_{k}" for k in range(temperature.SIZE))

_WEIGHT = Span(-1e25, 1e25, single=True)
_VARIANCE = Span(LEAST_VARIANCE, 1.0)
_SQUARE = Span(LEAST_SQUARE, 1e37)
_FIGURE = Span(0.0, 1e300)
_BY_FEATURE = {
    "mean_squares": Span(0.0, 1e101),
    "ages": Span(0, MOST_AGE, whole=True),
    "runs": Span(0, RUN - 1, whole=True),
    "seen": Span(0, 2**37 - 1, whole=True),
}
_OTHERS = {
    "second_orders": np.float32, "row_lengths": np.int32, "row_labels": np.int32,
    "row_weights": np.float32, "label_states": np.uint8, "bias_weights": np.float32,
}  # fmt: skip


def _scalars() -> dict[str, Span]:
    spans = {"samples": SAMPLES, "log_importance": Span(-400.0, 400.0)}
    spans.update(zip(BIAS, (_VARIANCE, _SQUARE, _SQUARE, _SQUARE), strict=True))
    spans.update(mixture.spans(N))
    spans.update(judged_weight=_FIGURE, judged_recent_weight=_FIGURE)
    spans.update({f"judged_{name}_{j}": _FIGURE for name in JUDGED for j in range(N + 1)})
    spans.update(dict.fromkeys(TEMPERATURE, Span(-1e10, 1e10)))
    return spans


def _set_scalars() -> dict[str, Span]:
    spans = {name: span for name, span in _scalars().items() if name in ("samples", *BIAS)}
    spans = {"samples": SAMPLES, "log_importance": Span(-400.0, 400.0), **spans}
    spans.update({f"mixture_weights_{k}": Span(0.0, 1.0 + 1e-9) for k in range(N)})
    spans.update({f"mixture_losses_{k}": Span(0.0, 1e100) for k in range(N)})
    spans.update(judged_weight=_FIGURE, judged_recent_weight=_FIGURE)
    spans.update({f"judged_{name}_{j}": _FIGURE for name in JUDGED for j in range(N + 1)})
    return spans


class ClassLayout:
    """The names of the state, in the order of a view, and the check of it."""

    scalars = _scalars()
    arrays: tuple[str, ...] = (*_BY_FEATURE, *_OTHERS)
    of_views = ("views", "view_samples")  # both or none
    _features = Layout(_BY_FEATURE, scalars)

    @staticmethod
    def check_bounds(max_labels: int, max_labels_per_feature: int) -> None:
        """Raise ValueError for bounds that a learner cannot have."""
        if not 2 <= max_labels <= MOST_LABELS:
            raise ValueError(f"max_labels: expected 2 to {MOST_LABELS}, got {max_labels}")
        if not LEAST_ROW <= max_labels_per_feature <= MOST_LABELS:
            raise ValueError(
                f"max_labels_per_feature: expected {LEAST_ROW} to {MOST_LABELS},"
                f" got {max_labels_per_feature}"
            )

    @classmethod
    def check(
        cls, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any], max_labels: int
    ) -> None:
        """Raise ValueError unless `arrays` and `scalars` can be a learner's whole state."""
        in_views = any(name in arrays for name in cls.of_views)
        expected = (*cls.arrays, *cls.of_views) if in_views else cls.arrays
        for name in expected:
            if name not in arrays:
                raise ValueError(f"arrays: expected {name}, got none")
        for name in arrays:
            if name not in expected:
                raise ValueError(f"arrays: expected only the learner's, got {str(name)[:60]!r}")
        cls._features.check({name: arrays[name] for name in _BY_FEATURE}, scalars)
        cls._check_second_level(arrays, scalars)
        states, lengths = arrays["label_states"], arrays["row_lengths"]
        n, m, k = len(arrays["seen"]), len(arrays["row_labels"]), len(states)
        sizes = (4 * n, n, m, 4 * m, k, 4 * k)
        for (name, dtype), size in zip(_OTHERS.items(), sizes, strict=True):
            found = arrays[name]
            if found.dtype.newbyteorder("=") != dtype or found.shape != (size,):
                raise ValueError(
                    f"{name}: expected {np.dtype(dtype)}[{size}], got {found.dtype} of shape"
                    f" {list(found.shape)}"
                )
        if k > max_labels:
            raise ValueError(f"label_states: expected at most {max_labels} labels, got {k}")
        if k and int(states.max()) > 2:
            raise ValueError(f"label_states: expected numbers from 0 to 2, got {int(states.max())}")
        _check_rows(lengths, arrays["row_labels"], states)
        second = arrays["second_orders"].reshape(-1, N)
        _check_within("second_orders", second[:, 0], _VARIANCE)
        _check_within("second_orders", second[:, 1:], _SQUARE)
        _check_within("row_weights", arrays["row_weights"], _WEIGHT)
        bias = arrays["bias_weights"]
        _check_within("bias_weights", bias, _WEIGHT)
        if bool(bias.reshape(-1, N)[states != 1].any()):
            raise ValueError("bias_weights: expected 0 for labels that are not known")
        _check_new(arrays, second)
        if in_views:
            _check_views(arrays)

    @classmethod
    def _check_second_level(
        cls, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]
    ) -> None:
        """Raise ValueError unless the state over the experts can be."""
        mixture.check_state(scalars, N)
        temperature.check_state([float(scalars[name]) for name in TEMPERATURE])


class SetLayout(ClassLayout):
    """The state of the learner of several labels a sample: without temperature, with `threshold`,
    float64[402], as `onlinesvm.metrics.threshold` dumps it.
    """

    scalars = _set_scalars()
    arrays = (*ClassLayout.arrays, "threshold")
    _features = Layout(_BY_FEATURE, scalars)

    @classmethod
    def _check_second_level(
        cls, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]
    ) -> None:
        threshold.check_state(arrays["threshold"])


def _check_within(name: str, numbers: NDArray[Any], span: Span) -> None:
    if numbers.size and not (numbers.min() >= span.low and numbers.max() <= span.high):
        raise ValueError(
            f"{name}: expected numbers from {span.low:g} to {span.high:g},"
            f" got {numbers.min():g} to {numbers.max():g}"
        )


def _check_rows(lengths: NDArray[Any], labels: NDArray[Any], states: NDArray[Any]) -> None:
    """Raise ValueError unless the lengths sum up, and each row has distinct known labels."""
    if len(lengths) and int(lengths.min()) < 0:
        raise ValueError(f"row_lengths: expected numbers from 0, got {int(lengths.min())}")
    total = int(lengths.sum(dtype=np.int64))
    if total != len(labels):
        raise ValueError(f"row_lengths: expected a sum of {len(labels)}, got {total}")
    if not total:
        return
    if int(labels.min()) < 0 or int(labels.max()) >= len(states):
        raise ValueError(
            f"row_labels: expected ids from 0 to {len(states) - 1},"
            f" got {int(labels.min())} to {int(labels.max())}"
        )
    if not bool((states[labels] == 1).all()):
        raise ValueError(
            f"row_labels: expected known labels, got {int(labels[states[labels] != 1][0])}"
        )
    rows = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    cells = np.sort(rows * len(states) + labels)
    if bool((cells[1:] == cells[:-1]).any()):
        raise ValueError("row_labels: expected distinct labels in a row, got one twice")


def _check_views(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise ValueError unless tags are such, and no feature is in more texts than there are."""
    tags, samples, seen = arrays["views"], arrays["view_samples"], arrays["seen"]
    check_array("views", tags, len(seen), Span(0, OF_TEXT + VIEWS - 1, byte=True))
    check_array("view_samples", samples, VIEWS, SAMPLES)
    for view, count in enumerate(samples.tolist()):
        most = int(seen[tags == OF_TEXT + view].max(initial=0))
        if most > count:
            raise ValueError(f"seen: expected at most {count} texts of view {view}, got {most}")


def _check_new(arrays: Mapping[str, NDArray[Any]], second: NDArray[Any]) -> None:
    """Raise ValueError unless features that were never seen are as new, and the others are not."""
    unseen = arrays["seen"] == 0
    fresh = (second[unseen] == np.array([1.0, *[LEAST_SQUARE] * 3], dtype=np.float32)).all()
    for name in ("mean_squares", "ages", "runs", "row_lengths"):
        fresh = fresh and not arrays[name][unseen].any()
    if not bool(fresh):
        raise ValueError("seen: expected a fresh state where none was seen")
    if bool((arrays["ages"][~unseen] < 1).any()):
        raise ValueError("ages: expected numbers from 1 where some were seen, got 0")
    least = arrays["mean_squares"][~unseen].min(initial=1.0)
    if not least >= 1e-220:  # samples that are divided by their size may have tiny values
        raise ValueError(f"mean_squares: expected numbers from 1e-220, got {least:g}")
