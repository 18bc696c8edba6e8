"""The daemon: `loop` turns, `router` speaks ZeroMQ, `handlers` answer the operations.

`leader` learns, `reader` serves another daemon's snapshots, `background` runs jobs beside the
loop, `counters` count. May import `storage` and `protocol`.
"""
