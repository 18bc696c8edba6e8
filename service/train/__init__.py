"""Training on a Dask cluster, by iterative parameter mixing (`onlinesvm.mixing`).

`shards` cuts files into shards; `tasks` are what workers do: learn a shard, mix two outcomes;
`cluster` runs the tasks of a round, again where workers or the scheduler were lost; `checkpoint` is
the file between rounds; `trainer` goes from round to round. May import `errors`, and the learner's
`config`, `data`, `errors`, `kernel`, `mixing`, `readers`, `snapshot`, `svm` and `version`. Needs
onlinesvm[dask].
"""
