"""Update rules: how one sample moves the weights. The Python kernel's, and the readable reference.

Each rule's formula and source stand above its code. `rule` is the base of all, `records` of those
that keep a few numbers a feature, `layout` the layout of a state. A new rule of records touches
four files:

1. its formula, a file in this folder (as `arow`): the update and the layout of its state;
2. its C, in ``kernel/csrc/rules/records.h``: its name, its stride and its update;
3. its registration, `_REGISTERED` in ``onlinesvm/config.py``: class and parameters;
4. its test, ``tests/model/test_rules.py``.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module

from onlinesvm import config as _config
from onlinesvm.config import LearnerConfig
from onlinesvm.model.rules.layout import Layout
from onlinesvm.model.rules.rule import Rule

__all__ = ["RULES", "Layout", "Rule", "layout_of"]


def _class_of(rule: str) -> type[Rule]:
    """The class of a rule. Its module is imported when it is first asked for."""
    module, _, name = _config.RULE_CLASSES[rule].partition(":")
    found: type[Rule] = getattr(import_module(f"onlinesvm.model.rules.{module}"), name)
    return found


@lru_cache(maxsize=64)
def layout_of(config: LearnerConfig) -> Layout:
    """The layout of the state of the rule of `config`, on both kernels. Models share it."""
    return _class_of(config.rule).variant(config).layout(config)


def _make(config: LearnerConfig, layout: Layout) -> Rule:
    return _class_of(config.rule).variant(config)(config, layout)


# The Python kernel's: name → what makes the rule of a configuration and a layout.
RULES = dict.fromkeys(_config.RULE_CLASSES, _make)
