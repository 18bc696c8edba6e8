"""Snapshot files: `format` specifies them, `writer` and `reader` write and read them.

`view` holds a model as it is at one instant, to be copied while it learns on; `beside` runs a call
on a thread of its own.
May import `config`, `data`, `errors`, `kernel`, `text` and `version`.
"""
