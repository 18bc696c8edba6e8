"""The state folder: its lock, log and snapshots, and the start from them.

`state_dir` holds the folder. `log` writes `entry` after entry into `segment` after segment, `fsync`
makes them durable. `snapshots` writes `model_state`s, which have the samples `held`, changed by
`held_entries`. `recovery` starts from them: `catalog` finds
the `stored_model`s, `replay` notes their entries of the log, `loading` brings one into memory;
`repair` goes on after damage. May import `onlinesvm`, `service.protocol` and `service.held_bodies`.
"""
