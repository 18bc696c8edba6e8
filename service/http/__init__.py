"""The HTTP door: JSON API, metrics and a live page for a daemon, in a process of its own.

`app` has the routes, `openapi` describes them; `bodies` reads what came, `samples` packs it,
`predictions` and `answers` show what goes; `problem` is every error, `tokens` who may do what,
`metrics` the figures for Prometheus, `server` runs it all. `watch` looks at the daemon once a
second, `history` keeps the rows of an hour, `live` gives them to pages, whose `files` lie in page/.
It is a client of the daemon: nothing here can stall the loop. May import `client`, `protocol`,
`inspection`, `turns`, `errors`, and the learner's `data`, `config` and `errors`. Needs
onlinesvm[http].
"""
