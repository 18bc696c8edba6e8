"""The client: requests and streams, for threads and for asyncio.

`settings`, `configured` (a client by its settings), `calls` (requests and answers), `link` and
`probe` (is there a daemon?), `batches`, `pipeline` and `exactly_once` (streams), `transfer` (files
in pieces), `held` (keys and labels) do no waiting.
`connection`, `pool`, `client` and `stream` wait in threads; `async_connection`, `async_client` and
`async_stream` in an event loop.
May import `protocol` and `endpoint`, nothing of the server.
"""
