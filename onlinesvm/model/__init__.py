"""The model: a lookup from feature to id, rules that move the weights, and scores.

`lookup` and `pruning` hold the features, `rules` the learners, `scorer` fixed weights.
May import `data`, `metrics` and `snapshot`.
"""
