"""The daemon: binds, loads its models, answers requests in turns, and stops cleanly.

`daemon` runs a `loop` over a `router` (ZeroMQ): requests wait in `lines`, one for each connection,
and the `work` is done in `slices`. It runs first with `loading`, then with a `service`: the
`handlers` over a `leader` with its `turn` and `plan`s, a `snapshotter` of the `changes` with
`disk_space` and `log_health`, and `transfers`; or over a `reader`. `registry` holds the models,
`memory` bounds them; requests are `waiting` while `model_loader` loads one. `background` runs jobs
beside the loop, small ones by a `turnstile`. `held` plans what is held until its label comes,
`expiries` when its time is up, `order` what is planned at once. Imports `storage`, `protocol`.
"""
