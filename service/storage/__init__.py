"""The state folder: its lock, log and snapshots, and the start from them.

`state_dir` holds the folder, `log` writes `segment` after segment, `fsync` makes them durable,
`recovery` replays them, `repair` goes on after damage, `producers` remembers sequences.
May import `onlinesvm` and `service.protocol`.
"""
