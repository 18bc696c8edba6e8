"""The HTTP door: JSON API and metrics for a daemon, in a process of its own.

`app` has the routes, `openapi` describes them; `bodies` reads what came, `samples` packs it,
`predictions` and `answers` show what goes; `problem` is every error, `tokens` who may do what,
`metrics` the figures for Prometheus, `server` runs it all. It is a client of the daemon: nothing
here can stall the loop. May import `client`, `protocol`, `errors`, and the learner's `data`,
`config` and `errors`. Needs onlinesvm[http].
"""
