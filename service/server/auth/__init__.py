"""Access: the users that may come in, and the rights of each.

`door` admits connections, on a thread of its own; `users` holds the permits and checks requests;
`quotas` bounds what a user may send. May import `keys` and `protocol`.
"""
