"""The daemon and the model that are meant where none is named."""

from __future__ import annotations

__all__ = ["DEFAULT_ENDPOINT", "DEFAULT_MODEL"]

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5577"
DEFAULT_MODEL = "default"
