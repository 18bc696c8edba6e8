"""Raw text to features.

`tokenize` cuts a text into words; `fasttext` reads word vectors. May import `errors`.
"""
