"""The model: a lookup from feature to id, and heads whose rules move weights and score.

`model` learns and scores, `head` belongs to one label, `lookup` holds the features, `rules` the
formulas, `scorer` fixed weights. May import `data`, `metrics`, `kernel` and `snapshot`.
"""
