"""Models that learned apart from one start, mixed into one.

Iterative parameter mixing: McDonald, Hall and Mann (2010), "Distributed training strategies for the
structured perceptron", figure 3. In every round each shard of the samples is learned from the mixed
model of the round before, and the outcomes are mixed::

    w_i = Σ_k μ_ik·w_ik,  μ_ik = n_ik / Σ_k n_ik

n_ik is the number of samples of shard k that had feature i in that round; there it departs from
their μ_k, one for all features: a feature that one shard alone has seen keeps all that this shard
learned of it. A feature that no shard saw stays as it was. Two outcomes are mixed at a time, so
that many are in a tree.

`learner` learns a shard, from the model of `start`; `outcome` is what it makes of it; `mix` mixes
two outcomes; `sgd`, `hedge` and `classes` have the formulas of each part, `means` what they share,
`join` brings features into one order. May import `config`, `data`, `errors`, `kernel`, `metrics`,
`model`, `snapshot` and `text`.
"""
