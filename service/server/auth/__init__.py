"""Who may come in, and what each may do.

`door` admits connections, on a thread of its own; `users` holds the permits and checks requests;
`quotas` bounds what a user may send. May import `keys` and `protocol`.
"""
