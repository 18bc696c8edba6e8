"""Configuration: the learner, and the limits of requests and models.

Each field's help says what it costs and what to pick if unsure; the command line makes its flags
from these fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, NoReturn

from onlinesvm.data.label import Written, label_of, packable
from onlinesvm.errors import ConfigError, format_text
from onlinesvm.magnitudes import MAX_MAGNITUDE, MIN_MAGNITUDE
from onlinesvm.text.options import FIELD_KINDS, NUMBERS, TEXTS, TextOptions

__all__ = [
    "MAX_MAGNITUDE", "MIN_MAGNITUDE", "LearnerConfig", "Limits", "check_number",
    "check_parameters", "parameter",
]  # fmt: skip

SCHEDULES = ("constant", "invscaling")
NORMALIZE = ("none", "l2", "mean")
POLICIES = ("refuse-new", "prune")
TASKS = ("auto", "binary", "multiclass", "multilabel", "ranking")
MANY_LABELS = ("multiclass", "multilabel")  # tasks of any number of labels
# The rules of a task; other combinations are refused.
TASK_RULES = {"multiclass": ("hedge",), "multilabel": ("hedge",), "ranking": ("hedge", "sgd")}

# The registered rules: the class in onlinesvm.model.rules that is the formula, and the rule's own
# parameters with their defaults; other rules' parameters are refused. The first parameter is the
# strength of a rule of records, see kernel/csrc/rules/records.h.
_REGISTERED: dict[str, tuple[str, dict[str, Any]]] = {
    "hedge": ("hedge:Hedge", {}),
    "sgd": ("sgd:Sgd", {"eta0": 0.1, "schedule": "constant", "alpha": 0.0, "average": False}),
    "pa1": ("passive_aggressive:PassiveAggressive1", {"C": 1.0}),
    "pa2": ("passive_aggressive:PassiveAggressive2", {"C": 1.0}),
    "arow": ("arow:Arow", {"r": 1.0}),
    "adagrad": ("adagrad:Adagrad", {"eta0": 0.1, "forgetting": 1.0}),
    "nag": ("nag:Nag", {"eta0": 0.5}),
}
RULES = tuple(_REGISTERED)
RULE_CLASSES = {name: formula for name, (formula, _) in _REGISTERED.items()}
RULE_PARAMETERS = {name: parameters for name, (_, parameters) in _REGISTERED.items()}

# The bounds of values and importances under the rules that one sample could ruin for good. By sgd a
# mistake moves a weight by eta0 times the value and the importance; arow and nag take the square of
# the largest value so far for what a feature is, and hardly move its weight afterwards.
RULE_BOUNDS: dict[str, tuple[float | None, float | None]] = {
    "sgd": (32.0, 32.0),
    "arow": (32.0, None),
    "nag": (32.0, None),
}

# Parameters that came after the first snapshots: a configuration that leaves them at these values
# is stored, and digested, as if they were not there.
_LATER: dict[str, Any] = {
    "average": False, "normalize": "none", "class_weight": None, "threshold": 0.0,
    "max_features_policy": "refuse-new", "labels": None, "positive": None, "fields": (),
    "numbers": "raw", "crosses": (), "vectors": None, "task": "binary",
}  # fmt: skip


def parameter(default: Any, help: str, choices: tuple[str, ...] | None = None) -> Any:
    """A dataclass field with the help of its flag."""
    return field(default=default, metadata={"help": help, "choices": choices})


def check_number(name: str, value: object, low: float, high: float) -> None:
    """Raise ConfigError unless `value` is a number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{name}: expected a number, got {value!r}")
    if not low <= value <= high:  # also refuses nan
        raise ConfigError(f"{name}: expected a number from {low:g} to {high:g}, got {value!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnerConfig:
    """The learner. Fixed when a model is created: a model never changes its configuration.

    A rule's own parameters are None where they are left out, and then become the rule's defaults
    (RULE_PARAMETERS); those of other rules stay None.

    Raises ConfigError for a value out of range or a parameter of another rule.
    """

    task: str = parameter(
        "auto",
        "binary tells two labels apart, multiclass any number, new ones as they come; ranking"
        " scores items, learned from pairs of a better and a worse one; auto is multiclass where"
        " three or more labels are named, else binary",
        TASKS,
    )
    rule: str = parameter(
        "hedge",
        "update rule: hedge runs six experts on one lookup and follows the best of them, and"
        " needs no tuning; the others are cheaper and each good on some data",
        RULES,
    )
    eta0: float | None = parameter(
        None,
        "learning rate (sgd 0.1, adagrad 0.1, nag 0.5): how far one mistake moves a weight. Larger"
        " follows drift faster and is noisier",
    )
    schedule: str | None = parameter(
        None,
        "learning rate over time (sgd: constant): constant follows drift; invscaling is"
        " eta0/sqrt(t), for streams known to be stationary",
        SCHEDULES,
    )
    alpha: float | None = parameter(
        None,
        "L2 shrinkage (sgd: 0, off): every learned sample scales all weights by 1 - eta*alpha."
        " Costs about a third more time and 16 more bytes a feature on the native kernel",
    )
    average: bool | None = parameter(
        None,
        "predict by the mean of all weights so far (sgd: off): for streams known to be stationary."
        " Costs a second margin and 8 more bytes a feature",
    )
    C: float | None = parameter(
        None,
        "aggressiveness (pa1, pa2: 1): how far one sample may move the weights. Smaller where"
        " labels are noisy",
    )
    r: float | None = parameter(
        None, "regularization (arow: 1): larger is slower, and steadier where labels are noisy"
    )
    forgetting: float | None = parameter(
        None,
        "what a feature's update leaves of its earlier gradients (adagrad: 1, all): 0.999 follows"
        " drift",
    )
    bias: bool = parameter(
        True, "learn a bias, a weight that every sample has; costs nothing, on if unsure"
    )
    normalize: str = parameter(
        "none",
        "divide each sample by its norm (l2) or its number of features (mean), before the bias:"
        " where samples differ in length for no reason; the hedge rarely needs it",
        NORMALIZE,
    )
    class_weight: str | tuple[float, float] | None = parameter(
        None,
        "multiply importances by class: balanced evens the classes out as the stream goes, or two"
        " numbers for -1 and +1, as 1,5; where one class is rare and counts as much",
    )
    labels: tuple[Written, ...] | None = parameter(
        None,
        "the only labels, as spam,ham: any other is refused. Left out, they are learned as they"
        " come",
    )
    positive: tuple[Written, ...] | None = parameter(
        None,
        "the labels of side +1, all others being -1; '>0' means any integer above 0. Left out, 1 is"
        " +1, and else the second label seen",
    )
    threshold: float = parameter(
        0.0, "the margin above which the prediction is +1, in all that counts mistakes"
    )
    max_features_policy: str = parameter(
        "refuse-new",
        "what a model of max_features features does with new ones: leave them out, or prune the"
        " features of smallest weight, some thousand at a time, until a quarter is free",
        POLICIES,
    )
    text: str | None = parameter(
        None,
        "how the model reads text (hedge: default, other rules: off): default is words, symbols,"
        " style, pairs of words and parts of words, about 2 features a character; words is words"
        " alone, faster, with half as many errors again; off refuses a bare text",
        TEXTS,
    )
    fields: tuple[tuple[str, str], ...] = parameter(
        (),
        f"what fields of records hold, as subject=text,sent=date: {', '.join(FIELD_KINDS)}. A field"
        " that is not named holds a category where its text is one word, else text",
    )
    numbers: str = parameter(
        "raw",
        "what a number is: raw is its value, prefixes also 5 names of its magnitude, a quarter"
        " fewer errors where the response is not linear, and six times the features",
        NUMBERS,
    )
    crosses: str | tuple[tuple[str, str], ...] = parameter(
        (),
        "fields whose categories make features in pairs, as carrier:origin,origin:dest; * for all"
        " pairs. Two fields are crossed while they have at most 5,000 pairs of values. Where two"
        " categories mean more together than each alone",
    )

    vectors: str | None = parameter(
        None,
        "the fastText .bin file whose word vectors texts have beside their words, known by its"
        " SHA-256. Where few samples can be labelled and vectors of much text are at hand; slow: 10"
        " µs a word",
    )

    def __post_init__(self) -> None:
        _check_choice("rule", self.rule, RULES)
        defaults = RULE_PARAMETERS[self.rule]
        for name in _RULE_FIELDS:
            if name not in defaults:
                if getattr(self, name) is not None:
                    self._refuse_foreign(name, getattr(self, name))
            elif getattr(self, name) is None:
                object.__setattr__(self, name, defaults[name])
        self._check_rule_parameters()
        for name in _RANGES:
            if getattr(self, name) is not None:  # 1 and 1.0 are one configuration
                object.__setattr__(self, name, float(getattr(self, name)))
        _check_choice("normalize", self.normalize, NORMALIZE)
        _check_choice("max_features_policy", self.max_features_policy, POLICIES)
        check_number("threshold", self.threshold, -MAX_MAGNITUDE, MAX_MAGNITUDE)
        object.__setattr__(self, "threshold", float(self.threshold))
        object.__setattr__(self, "class_weight", _checked_class_weight(self.class_weight))
        for name in ("labels", "positive"):
            object.__setattr__(self, name, _checked_labels(name, getattr(self, name)))
        if not isinstance(self.bias, bool):
            raise ConfigError(f"bias: expected true or false, got {self.bias!r}")
        self._check_task()
        if self.text is None:
            object.__setattr__(self, "text", self._own_text())
        object.__setattr__(self, "fields", _checked_fields(self.fields))
        object.__setattr__(self, "crosses", _checked_crosses(self.crosses))
        self.text_options()

    def _own_text(self) -> str:
        """How the model reads text if nothing else is said."""
        return "default" if self.rule == "hedge" else "off"

    def text_options(self) -> TextOptions:
        """How records are read. Raises ConfigError for options that cannot be."""
        assert self.text is not None
        return TextOptions(
            text=self.text, fields=dict(self.fields), numbers=self.numbers,
            crosses=self.crosses, vectors=self.vectors,
        )  # fmt: skip

    def _check_task(self) -> None:
        """Decide an automatic task. Raises ConfigError for what the task does not have."""
        _check_choice("task", self.task, TASKS)
        labels = 0 if self.labels is None else len(self.labels)
        if self.task == "auto":
            object.__setattr__(self, "task", "multiclass" if labels > 2 else "binary")
        if self.labels is not None and (labels < 2 or (labels > 2 and self.task == "binary")):
            raise ConfigError(f"labels: expected two labels, got {labels}")
        having = TASK_RULES.get(self.task, RULES)
        if self.rule not in having:
            raise ConfigError(
                f"rule: expected {' or '.join(having)} for task {self.task}, got {self.rule!r}"
            )
        if self.task == "binary":
            return
        if self.task == "ranking":
            self._check_ranking()
            return
        for name in ("positive", "threshold"):
            if getattr(self, name):
                raise ConfigError(
                    f"{name}: expected none, as task {self.task} has no side +1,"
                    f" got {getattr(self, name)!r}"
                )
        if self.task == "multilabel" and self.class_weight:
            raise ConfigError(
                f"class_weight: expected none for task multilabel, got {self.class_weight!r}"
            )
        if isinstance(self.class_weight, tuple):
            raise ConfigError(
                f"class_weight: expected balanced for task {self.task}, got {self.class_weight!r}"
            )

    def _check_ranking(self) -> None:
        """Take away the bias, which cancels out of a pair. Raises ConfigError for what a ranking
        does not have: labels, and a norm, which the difference of two items would not keep.
        """
        for name in ("labels", "positive", "threshold", "class_weight"):
            if getattr(self, name):
                raise ConfigError(
                    f"{name}: expected none, as task ranking has no labels,"
                    f" got {getattr(self, name)!r}"
                )
        if self.normalize != "none":
            raise ConfigError(f"normalize: expected none for task ranking, got {self.normalize!r}")
        object.__setattr__(self, "bias", False)

    def _refuse_foreign(self, name: str, value: object) -> NoReturn:
        having = ", ".join(rule for rule in RULES if name in RULE_PARAMETERS[rule])
        raise ConfigError(
            f"{name}: expected none, as rule {self.rule} has no such parameter,"
            f" got {value!r} (rules with it: {having})"
        )

    def _check_rule_parameters(self) -> None:
        if self.schedule is not None:
            _check_choice("schedule", self.schedule, SCHEDULES)
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None:
                check_number(name, value, low, high)
        if self.average is not None and not isinstance(self.average, bool):
            raise ConfigError(f"average: expected true or false, got {self.average!r}")
        if self.alpha:
            assert self.eta0 is not None
            if not self.eta0 * self.alpha < 1:
                raise ConfigError(
                    "alpha: expected eta0 * alpha below 1 (shrinking must not turn weights"
                    f" around), got {self.eta0!r} * {self.alpha!r}"
                )
            if 1.0 - self.eta0 * self.alpha == 1.0:
                raise ConfigError(
                    "alpha: expected 0, or eta0 * alpha above 2**-54 (less shrinks nothing, by"
                    f" rounding), got {self.eta0!r} * {self.alpha!r}"
                )
            if self.average:
                raise ConfigError(
                    "average: expected alpha 0 (a mean of shrinking weights is not kept), got"
                    f" {self.alpha!r}"
                )

    def number(self, name: str) -> float:
        """The value of a parameter that this rule has."""
        value = getattr(self, name)
        assert isinstance(value, float), name
        return value

    def as_dict(self) -> dict[str, Any]:
        """The learner's parameters, as plain msgpack values, in the order of the fields."""
        names = _NAMES_OF[self.rule]
        values = {name: getattr(self, name) for name in names}
        for name, default in _LATER.items():
            if name in values and values[name] == default:
                del values[name]
        if self.text == self._own_text():
            del values["text"]
        return values

    @classmethod
    def from_dict(cls, stored: object) -> LearnerConfig:
        """The configuration in a snapshot's header. Raises ConfigError for anything unknown."""
        if not isinstance(stored, Mapping):
            raise ConfigError(f"configuration: expected a map, got {type(stored).__name__}")
        known = {f.name for f in fields(cls)}
        for name in stored:
            if name not in known:
                raise ConfigError(f"configuration: unknown parameter {name!r}")
        return cls(**stored)

    def check_given(self, given: Mapping[str, Any]) -> None:
        """Raise ConfigError where a parameter that was given differs from this one."""
        for name in given:
            mine = getattr(self, name)
            if mine is None and name in _RULE_FIELDS:
                self._refuse_foreign(name, given[name])
            if (name, given[name]) == ("task", "auto"):
                continue
            if _comparable(name, given[name]) != _comparable(name, mine):
                raise ConfigError(
                    f"{name}: the model was created with {mine!r},"
                    f" got {given[name]!r}; leave it out, or start a new model"
                )


def _checked_labels(name: str, given: object) -> tuple[Written, ...] | None:
    if given is None:
        return None
    if isinstance(given, str | bytes | int) or not isinstance(given, Iterable):
        given = (given,)
    labels = []
    for value in given:
        if value == ">0" and name == "positive":
            labels.append(value)
            continue
        if name == "positive" and isinstance(value, str) and value.startswith(">"):
            raise ConfigError(f"positive: expected a label, or '>0', got {value!r}")
        try:
            label = label_of(value).written
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{name}: {error}") from None
        if isinstance(packable(label), bytes):
            raise ConfigError(f"{name}: expected text in UTF-8, got {format_text(str(label))}")
        labels.append(label)
    if not labels:
        raise ConfigError(f"{name}: expected one label at least, got none")
    if len({label_of(label).text for label in labels}) != len(labels):
        raise ConfigError(f"{name}: expected each label once, got {labels!r}")
    return tuple(labels)


def _comparable(name: str, value: Any) -> object:
    """A parameter's value in the form in which it is compared."""
    if name == "class_weight":
        return _checked_class_weight(value)
    if name == "fields":
        return _checked_fields(value)
    if name == "crosses":
        return _checked_crosses(value)
    if name in ("labels", "positive") and value is not None:
        labels = [label_of(label).text for label in _checked_labels(name, value) or ()]
        return labels if name == "labels" else frozenset(labels)
    return value


def _checked_fields(given: object) -> tuple[tuple[str, str], ...]:
    pairs = given.items() if isinstance(given, Mapping) else given
    try:
        found = {name: kind for name, kind in pairs}  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise ConfigError(f"fields: expected a mapping from field to kind, got {given!r}") from None
    for name, kind in found.items():
        if not isinstance(name, str) or not isinstance(kind, str):
            raise ConfigError(f"fields: expected names and kinds as text, got {given!r}")
    return tuple(sorted(found.items()))


def _checked_crosses(given: object) -> str | tuple[tuple[str, str], ...]:
    """Pairs of fields, each once and the lesser name first; or ``*``."""
    if given == "*":
        return "*"
    pairs = given if isinstance(given, Iterable) and not isinstance(given, str | bytes) else None
    found = set()
    for pair in (given,) if pairs is None else pairs:
        fields = tuple(pair) if isinstance(pair, tuple | list) else ()
        if len(fields) != 2 or not all(isinstance(field, str) for field in fields):
            raise ConfigError(f"crosses: expected * or pairs of fields, got {given!r}")
        if fields[0] == fields[1]:
            raise ConfigError(f"crosses: expected pairs of two fields, got {fields[0]!r} twice")
        found.add((min(fields), max(fields)))
    return tuple(sorted(found))


def _checked_class_weight(given: object) -> str | tuple[float, float] | None:
    if given is None or (isinstance(given, str) and given == "balanced"):
        return given
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ConfigError(
            f"class_weight: expected balanced or a pair of numbers (for -1 and +1), got {given!r}"
        )
    for weight in given:
        check_number("class_weight", weight, 1e-6, 1e6)
    return float(given[0]), float(given[1])


def check_parameters(given: Mapping[str, Any]) -> None:
    """Raise ConfigError unless a learner can have the given parameters.

    Without a rule, any rule that has them will do.
    """
    if "rule" not in given:
        names = {name for name in given if name in _RULE_FIELDS}
        fitting = [rule for rule in RULES if names <= RULE_PARAMETERS[rule].keys()]
        given = {"rule": fitting[0] if fitting else RULES[0], **given}
    LearnerConfig(**given)


def _check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")


_RULE_FIELDS = frozenset(name for parameters in RULE_PARAMETERS.values() for name in parameters)
# The parameters of each rule, in the order of the fields.
_NAMES_OF = {
    rule: tuple(
        f.name for f in fields(LearnerConfig) if f.name in own or f.name not in _RULE_FIELDS
    )
    for rule, own in RULE_PARAMETERS.items()
}
_RANGES = {
    "eta0": (MIN_MAGNITUDE, MAX_MAGNITUDE),
    "alpha": (0.0, MAX_MAGNITUDE),
    "C": (MIN_MAGNITUDE, MAX_MAGNITUDE),
    "r": (MIN_MAGNITUDE, MAX_MAGNITUDE),
    "forgetting": (0.0, 1.0),
}


_BOUNDS = ("max_value", "max_importance")
_OF_LABELS = ("max_labels", "max_labels_per_feature")
LEAST_ROW = 8  # labels of a feature: more than one sample updates
MOST_LABELS = 2**24


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds on requests and models; checked before memory is taken.

    Limits may change from one start to the next. `max_value` and `max_importance` are None where
    the model's rule decides (`under`).

    Raises ConfigError for a value out of range.
    """

    max_features_per_sample: int = parameter(65_536, "features one sample may have")
    max_samples_per_batch: int = parameter(16_384, "samples one message may hold")
    max_name_bytes: int = parameter(4_096, "bytes one feature name may have")
    max_message_bytes: int = parameter(
        16 * 2**20,
        "bytes one message may have. While it is read the native kernel takes about six times this,"
        " and some 40 MiB for the features of texts; the python kernel up to"
        " a hundred times; a client may have 16 messages waiting",
    )
    max_header_bytes: int = parameter(4_096, "bytes one message header may have")
    max_features: int = parameter(
        10_000_000,
        "features the model may hold; max_features_policy decides about new ones at the bound."
        " About 100 bytes of"
        " memory each on the native kernel, 400 on the python kernel",
    )
    max_labels: int = parameter(
        100_000,
        "labels a multiclass model may have had, dropped ones too; a sample with one more is"
        " refused",
    )
    max_labels_per_feature: int = parameter(
        128,
        "labels whose weights one feature may hold, from 8, in a multiclass model; a new one takes"
        " the place of the weakest. Fewer are faster and take less memory, and cost some accuracy"
        " above a thousand labels",
    )
    max_value: float | None = parameter(
        None,
        "magnitude that a value may have to be learned (sgd, arow, nag: 32; other rules: 1e50): one"
        " sample beyond it could ruin the model. Scale values to about 1, or raise it",
    )
    max_importance: float | None = parameter(
        None, "importance that a sample may have to be learned (sgd: 32; other rules: 1e50)"
    )
    clip: bool = parameter(
        False,
        "learn a sample beyond max_value or max_importance as if its numbers were these limits,"
        " instead of refusing it; such a sample is clipped to predict, too",
    )

    def __post_init__(self) -> None:
        if not isinstance(self.clip, bool):
            raise ConfigError(f"clip: expected true or false, got {self.clip!r}")
        for name in _BOUNDS:  # a name in an array has value 1, a sample importance 1
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), 1.0, MAX_MAGNITUDE)
                object.__setattr__(self, name, float(getattr(self, name)))
        for f in fields(self):
            if f.name in _BOUNDS or f.name == "clip":
                continue
            value = getattr(self, f.name)
            # Offsets within a message are 32-bit; ids are 31-bit, and the last is kept free.
            high = MOST_LABELS if f.name in _OF_LABELS else 2**31 - 2
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
                raise ConfigError(f"{f.name}: expected an integer from 1 to {high}, got {value!r}")
        if self.max_labels_per_feature < LEAST_ROW:
            raise ConfigError(
                f"max_labels_per_feature: expected an integer from {LEAST_ROW},"
                f" got {self.max_labels_per_feature}"
            )

    def under(self, rule: str) -> Limits:
        """These limits, with the rule's bounds of values and importances where none are given.

        Raises ConfigError where `clip` has no bound to clip at.
        """
        given = self.max_value, self.max_importance
        if self.clip and given == (None, None) and rule not in RULE_BOUNDS:
            raise ConfigError(
                f"clip: expected max_value or max_importance with it, as rule {rule} bounds neither"
                " by itself, got none"
            )
        bounds = zip(given, RULE_BOUNDS.get(rule, (None, None)), strict=True)
        value, importance = (default if bound is None else bound for bound, default in bounds)
        return _bounded(self, value, importance, self.clip)

    @property
    def bounds(self) -> tuple[float, float, bool]:
        """The largest value, the largest importance (1e50 where there is no limit), and `clip`."""
        value, importance = self.max_value, self.max_importance
        return (
            MAX_MAGNITUDE if value is None else value,
            MAX_MAGNITUDE if importance is None else importance,
            self.clip,
        )

    @property
    def clipped(self) -> tuple[float, float]:
        """The value and the importance above which these limits clip; 1e50 where they do not."""
        value, importance, clip = self.bounds
        return (value, importance) if clip else (MAX_MAGNITUDE, MAX_MAGNITUDE)

    def bounded(self, value: float, importance: float, clip: bool) -> Limits:
        """These limits with other bounds, as `bounds` gives them."""
        return _bounded(self, value, importance, clip)

    @property
    def scoring(self) -> Limits:
        """These limits for samples that are only scored: nothing is refused to be learned."""
        if self.clip:
            return self
        return replace(self, max_value=MAX_MAGNITUDE, max_importance=MAX_MAGNITUDE)

    @property
    def socket_message_bytes(self) -> int:
        """ZMQ_MAXMSGSIZE: ZeroMQ cuts the connection, without an error, above it."""
        return 2 * self.max_message_bytes


@lru_cache(maxsize=1024)
def _bounded(limits: Limits, value: float | None, importance: float | None, clip: bool) -> Limits:
    """As `Limits.bounded`; one object for all models that have these limits."""
    return replace(limits, max_value=value, max_importance=importance, clip=clip)
