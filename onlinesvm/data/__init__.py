"""Samples on their way in: Python objects, message bodies and matrices become columns.

`batch` holds the columns, `validation` the limits and messages, `codec` the msgpack bodies,
`objects` the Python samples, `matrix` the CSR matrices and arrays.
May import `config` and `errors` alone.
"""
