"""Snapshot files: `format` specifies them, `writer` and `reader` write and read them.

`view` holds a model as it is at one instant, to be copied while it learns on.
May import `config` and `errors` alone.
"""
