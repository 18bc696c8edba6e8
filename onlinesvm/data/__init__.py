"""Samples on their way in: Python objects, message bodies and matrices become columns.

`batch` holds the columns, `validation` the limits and messages, `codec` the msgpack bodies,
`objects` the Python samples, `matrix` the CSR matrices and arrays, `frames` the data frames, `rows`
the rule for what counts as a matrix.
May import `config` and `errors` alone.
"""
