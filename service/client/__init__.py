"""The client: `client` asks, `connection` holds the socket, `stream` pipelines samples.

`exactly_once` numbers requests, so that each is applied once.
May import `protocol`, nothing of the server.
"""
