"""Raw text to features.

`records` turns a record (text, names, named fields) into features with their views, by `options`:
`characters` (with `unicode_table`), `words`, `style` and `ngrams` for texts, `numbers`, `dates`.
`categories` counts their values, which bounds crosses.
`attribution` shares a margin among the fields of a record and the tokens of its texts.
`tokenize` cuts the text of files into words; `fasttext` reads word vectors. May import `errors`,
`config` and `magnitudes`.
"""
