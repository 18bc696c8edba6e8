"""The HTTP door: JSON API and metrics for a daemon, in a process of its own.

`app` has the routes, `openapi` describes them; `bodies` reads what came, `predictions` shows
what goes; `problem` is every error, `tokens` who may do what, `metrics` the figures for Prometheus.
It is a client of the daemon: nothing here can stall the loop. May import `client`, `protocol`,
`errors`, and the learner's `data` and `errors`. Needs the extra http: starlette, uvicorn and more.
"""
