"""Views as an attacker might write them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

__all__ = ["forge"]


def forge(arrays: dict[str, Any], scalars: dict[str, Any], data: st.DataObject) -> None:
    """Change one array or scalar of a view, drawn from `data`: gone, of another kind or size, or a
    number that it cannot have.
    """
    name = data.draw(st.sampled_from([*arrays, *scalars]))
    kind = data.draw(st.sampled_from(["gone", "more", "odd", "large", "nan"]))
    if name in arrays:
        array = arrays.pop(name)
        odd = {"more": np.append(array, array[:1]), "odd": np.zeros(len(array), np.float16)}
        if kind in odd:
            arrays[name] = odd[kind]
        elif kind != "gone" and len(array):
            changed = array.copy()
            whole = changed.dtype.kind in "iu"
            changed[-1] = 200 if whole else (np.nan if kind == "nan" else 1e30)
            arrays[name] = changed
    else:
        del scalars[name]
        if kind != "gone":
            scalars[name] = {"more": -1, "odd": "1", "large": 1e301, "nan": float("nan")}[kind]
