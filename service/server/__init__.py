"""The daemon: binds, loads its models, answers requests in turns, and stops cleanly.

`daemon` runs a `loop` over a `router` (ZeroMQ), first with `loading`, then with a `service`: the
`handlers` over a `leader` and its `plan`s, a `snapshotter` with the `newest_snapshot`, `disk_space`
and `log_health`, or over a `reader`.
`registry` holds the models, `background` runs jobs beside the loop. Imports `storage`, `protocol`.
"""
