"""Ingesters: samples from a log to a daemon, each learned exactly once.

`source` is the interface of a log that is read from a cursor on; `file_tail` (with `rotation`) and
`redis_streams` (with `redis_connection`) are logs. `form` turns entries into packed samples, and
`ingester` hands them to a numbered stream with their cursors, which the daemon keeps: an ingester
has no state of its own. May import `client`, `errors`, and the learner's `data` and `errors`.
"""
