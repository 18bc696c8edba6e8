"""The files of the page, with the headers that keep everything else out of it."""

from __future__ import annotations

import hashlib
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

from onlinesvm.service.http.problem import Problem

__all__ = ["HEADERS", "Files"]

_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
# The page runs its own scripts, speaks to this door, and is in no frame.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class Files:
    """The files in the folder `page`, read once: a path is a name among them, and no more."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, dict[str, str]]] = {}
        folder = resources.files("onlinesvm.service.http") / "page"
        for prefix, place in (("", folder), ("vendor/", folder / "vendor")):
            for entry in place.iterdir():
                kind = _TYPES.get(entry.name.rpartition(".")[2])
                if kind is not None and entry.is_file():
                    content = entry.read_bytes()
                    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
                    headers = {**HEADERS, "Content-Type": kind, "ETag": tag}
                    self._files[prefix + entry.name] = content, headers

    async def index(self, request: Request) -> Response:
        """The page itself."""
        return self._answer(request, "index.html")

    async def file(self, request: Request) -> Response:
        """A file that the page needs."""
        return self._answer(request, request.path_params["name"])

    def _answer(self, request: Request, name: str) -> Response:
        if name not in self._files:
            raise Problem(404, "NOT_FOUND", "Not Found")
        content, headers = self._files[name]
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers)
