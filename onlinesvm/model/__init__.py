"""The model: a lookup from feature to id, and heads whose rules move weights and score.

`model` learns and scores, `fields` explains margins by field, `head` belongs to one label, `lookup`
holds the features, `rules` the formulas, `labels` the sides of labels, `scorer` fixed weights,
`asking` the labels that are worth having, `mappings` the read-only views.
May import `config`, `data`, `errors`, `kernel`, `metrics`, `snapshot`
and `text`.
"""
