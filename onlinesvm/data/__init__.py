"""Samples on their way in: Python objects, message bodies and matrices become columns.

`batch` holds the columns, `label` the labels, `bounds` the bounds on numbers, `validation` the
messages for faults, `codec` the msgpack bodies, `objects` the Python samples, `matrix` the CSR
matrices and arrays, `frames` the data frames, `rows` the rule for what counts as a matrix.
May import `config`, `errors` and `text`. `config` imports `label`, which imports `errors` alone.
"""
