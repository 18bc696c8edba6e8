"""Explanations: the parts of a margin, or of a label's score."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from onlinesvm.data.batch import CSR, BatchColumns
from onlinesvm.data.label import Written
from onlinesvm.errors import SampleError
from onlinesvm.model.class_labels import ClassLabels
from onlinesvm.model.classes import ClassHead
from onlinesvm.model.head import Head
from onlinesvm.model.labels import Labels
from onlinesvm.model.lookup import features_of
from onlinesvm.model.rules.class_state import KNOWN
from onlinesvm.text.attribution import FieldPart

__all__ = ["Contribution", "Explanation", "distinct", "of_binary", "of_classes"]


class Contribution(NamedTuple):
    """A feature's part in a margin: ``weight·value`` is its `contribution`.

    value: as it was scored, after `normalize`. seen: the number of learned samples that had the
    feature; None where the rule does not count. known: false for a feature that the model lacks.
    """

    name: str
    value: float
    weight: float
    contribution: float
    seen: int | None
    known: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """A margin, the label it means, and its parts, in the order of the sample; added left to right
    from 0.0, the bias last, they give the margin exactly. label: None before one is known.

    fields: the same by field of the record, and by token of its texts; they and the bias add up to
    the margin but for rounding. Empty where the sample came as features.
    """

    margin: float
    label: Written | None
    bias: float
    contributions: list[Contribution]
    fields: list[FieldPart] = field(default_factory=list)


def distinct(batch: BatchColumns, left_out: Collection[int]) -> list[list[str]]:
    """The distinct names of each sample, in its order, without those left out: as the rows have
    them.
    """
    return [
        list(dict.fromkeys(name for name, _ in pairs)) for pairs in features_of(batch, left_out)
    ]


def of_binary(
    head: Head, labels: Labels, names_of: list[list[str]], csr: CSR, threshold: float
) -> list[Explanation]:
    """The parts of the margin of each sample; `csr` is the samples over ids, `names_of` their
    distinct names.
    """
    explained = []
    bias = head.bias
    for i, (margin, names) in enumerate(zip(head.rule.score(csr).tolist(), names_of, strict=True)):
        parts = []
        _, ids, values = csr.rows(i, i + 1)
        for name, id, x in zip(names, ids.tolist(), values.tolist(), strict=True):
            weight, seen = head.rule.feature(id)
            parts.append(Contribution(name, x, weight, weight * x, seen, id > 0))
        label = labels.name(1.0 if margin > threshold else -1.0)
        explained.append(Explanation(margin, label, bias, parts))
    return explained


def of_classes(
    head: ClassHead,
    labels: ClassLabels,
    names_of: list[list[str]],
    csr: CSR,
    label: object,
    other: object,
) -> list[Explanation]:
    """The parts of the score of `label`, of the predicted one for None, or of its lead over
    `other`, of each sample; `csr` is the samples over ids, `names_of` their distinct names.

    Raises SampleError for a label that is not known or has no learned sample.
    """
    wanted = None if label is None else labels.id_of(label)
    beside = None if other is None else labels.id_of(other)
    states = head.rule.states
    for id in (wanted, beside):
        if id is not None and not (id < len(states) and states[id] == KNOWN):
            raise SampleError(
                f"expected a label with a learned sample, got {labels.name(id)!r}", root="label"
            )
    best = head.top(csr, 1)[0]
    explained = []
    for i, names in enumerate(names_of):
        id = wanted if wanted is not None else int(best[i, 0]) if best.size else None
        if id is None:
            none = [Contribution(name, 0.0, 0.0, 0.0, 0, False) for name in names]
            explained.append(Explanation(0.0, None, 0.0, none))
            continue
        found = head.explain(csr.rows(i, i + 1), id, beside)
        parts = [
            Contribution(name, *part[1:]) for name, part in zip(names, found.parts, strict=True)
        ]
        explained.append(Explanation(found.score, labels.name(id), found.bias, parts))
    return explained
