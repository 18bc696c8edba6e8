"""Keys and what they permit.

`pair` is the two keys of a user or a daemon, and their files; `permit` what a user may do, and
`folder` the files of permits. May import `storage.posix`, nothing of the server and the client.
"""
