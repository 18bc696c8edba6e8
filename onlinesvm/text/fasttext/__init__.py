"""Word vectors from fastText's ``.bin`` files.

`vectors` answers for words and sentences; `model_file` reads and checks a file; `matrices` are its
rows, dense and quantized; `hashing` finds the rows of character n-grams. fastText itself is not
needed. May import `onlinesvm.errors`.

    >>> vectors = Vectors("cc.en.300.bin")          # doctest: +SKIP
    >>> vectors["unbelievably"].shape               # doctest: +SKIP
    (300,)
"""

from __future__ import annotations

from onlinesvm.text.fasttext.vectors import Vectors

__all__ = ["Vectors"]
