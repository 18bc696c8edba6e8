"""The description of the API (OpenAPI 3.1)."""

from __future__ import annotations

from typing import Any

from onlinesvm.service.http.live import SORTS
from onlinesvm.service.http.predictions import OUTPUTS
from onlinesvm.version import __version__

__all__ = ["document"]

_Schema = dict[str, Any]


def _object(*required: str, **properties: _Schema) -> _Schema:
    return {"type": "object", "required": list(required), "properties": properties}


def _array(of: _Schema) -> _Schema:
    return {"type": "array", "items": of}


_TEXT: _Schema = {"type": "string"}
_NUMBER: _Schema = {"type": "number"}
_SCORE: _Schema = {"type": ["number", "null"]}
_COUNT: _Schema = {"type": "integer", "minimum": 0}
_ANY: _Schema = {"type": "object"}
_NAME: _Schema = {"type": ["string", "integer", "boolean"]}
_LABEL: _Schema = {
    "type": ["string", "integer", "boolean", "array"], "description": "an array: multilabel",
}  # fmt: skip
_KNOWN: _Schema = {"type": ["string", "integer", "boolean", "null", "array"]}
_KEY: _Schema = {"type": ["string", "integer"], "description": "1 to 64 bytes"}
_IMPORTANCE: _Schema = {"type": "number", "minimum": 0, "default": 1}
_ID: _Schema = {"description": "comes back with the answer"}
_FEATURES: _Schema = {
    "description": "names, a map from name to number, a text, or a record of fields",
    "type": ["array", "object", "string"],
}
_PAIR: _Schema = {"type": "array", "description": "name and value"}
_PAIRS: _Schema = _array({"type": "array", "description": "label and score, the best first"})
_LEARNED = _object("features", "label", features=_FEATURES, label=_LABEL, importance=_IMPORTANCE,
                   id=_ID)  # fmt: skip
_BETTER = _object("better", "worse", better=_FEATURES, worse=_FEATURES, importance=_IMPORTANCE,
                  id=_ID) | {"description": "a pair of a ranking"}  # fmt: skip
_SAMPLE = _object("features", features=_FEATURES, hold=_KEY, id=_ID)
_MARGIN = _object("margin", margin=_SCORE, id=_ID)
_SCORED = _object("margin", margin=_SCORE, id=_ID) | {"description": "of a ranking"}
_LABELLING = _object(
    "label", label=_KNOWN, probability=_SCORE, margin=_SCORE, probabilities=_PAIRS, margins=_PAIRS,
    duplicate={"type": "boolean", "description": "its key was known: it is not held again"}, id=_ID,
)  # fmt: skip
_PREDICTION: _Schema = {"anyOf": [_LABELLING, _SCORED]}
_CONTRIBUTION = _object(
    "name", "value", "weight", "contribution", name=_TEXT, value=_NUMBER, weight=_NUMBER,
    contribution=_NUMBER,
)  # fmt: skip
_FIELD = _object(
    "field", "contribution", "whole", "text", field=_TEXT, contribution=_NUMBER, whole=_NUMBER,
    text=_array(_ANY),
)  # fmt: skip
_EXPLANATION = _object(
    "margin", "label", "bias", "contributions", margin=_SCORE, label=_KNOWN, bias=_NUMBER,
    contributions=_array(_CONTRIBUTION), fields=_array(_FIELD),
)  # fmt: skip
_LABELLED = _object("key", "label", key=_KEY, label=_LABEL, importance=_IMPORTANCE)
_OUTCOME: _Schema = {"enum": ["learned", "duplicate", "expired", "unknown"]}
_MODEL = _object("name", "loaded", name=_TEXT, loaded={"type": "boolean"}, position=_COUNT)
_PROBLEM = {"description": "RFC 9457, with the daemon's code, and the place in the body"} | _object(
    "type", "status", "title", "detail", "code", type=_TEXT, status={"type": "integer"},
    title=_TEXT, detail=_TEXT, code=_TEXT, at=_TEXT, sample=_COUNT, line=_COUNT,
)  # fmt: skip
_ROWS = _object("t", t=_array(_COUNT)) | {"description": "a column each, t the seconds"}
_COLUMNS: _Schema = {"anyOf": [_ROWS, {"type": "null"}]}
_SEEN = _object(
    "name", "loaded", "rate", "spark", name=_TEXT, loaded={"type": "boolean"}, rate=_NUMBER,
    spark=_array(_NUMBER), samples={"type": ["integer", "null"]}, error=_SCORE,
)  # fmt: skip
_MAYBE: _Schema = {"type": ["object", "null"]}
_INSPECTION = _object(
    "position", "features", "calibration", "confusion", "strongest", position=_COUNT,
    features=_COUNT, calibration={"type": ["array", "null"]}, confusion=_MAYBE, strongest=_MAYBE,
)  # fmt: skip
_ASKING: _Schema = {
    "output": {"enum": list(OUTPUTS), "default": "probability"},
    "top": {"type": "integer", "minimum": 0, "description": "labels; 0 is all"},
    "ttl_s": {"type": "number", "description": "with hold: seconds that the samples are held"},
    "default_label": _LABEL,
}


def _one_or_many(name: str, of: _Schema, many: _Schema | None = None, **rest: _Schema) -> _Schema:
    """One, or an object with an array of them under `name`."""
    one = of | {"properties": of["properties"] | rest} if rest else of
    return {"oneOf": [one, _object(name, **{name: _array(many or of)}, **rest)]}


def _operation(
    summary: str,
    role: str | None,
    answer: _Schema | None,
    body: _Schema | None = None,
    *,
    line: tuple[_Schema, _Schema] | None = None,
    query: dict[str, _Schema] | None = None,
    status: str = "200",
    media_type: str = "application/json",
) -> _Schema:
    """An operation, the least role that it takes, and what a line of NDJSON holds of a body and of
    an answer.
    """
    done: _Schema = {"description": "done"}
    if answer is not None:
        done["content"] = {media_type: {"schema": answer}}
    problem = {"application/problem+json": {"schema": _PROBLEM}}
    operation: _Schema = {
        "summary": summary,
        "responses": {status: done, "default": {"description": "a problem", "content": problem}},
        "parameters": [
            {"name": name, "in": "query", "schema": schema}
            for name, schema in (query or {}).items()
        ],
        "security": [] if role is None else [{"token": []}],
    }
    if role is not None:
        operation["description"] = f"Role: {role}."
    if body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
    if line is not None:
        operation["requestBody"]["content"]["application/x-ndjson"] = {"schema": line[0]}
        done["content"]["application/x-ndjson"] = {"schema": line[1]}
    return operation


def document() -> _Schema:
    """The whole document."""
    model = "/v1/models/{model}"
    paths: _Schema = {
        "/v1/models": {"get": _operation(
            "A page of the models by name", "read",
            _object("models", "count", "next", models=_array(_MODEL), count=_COUNT,
                    next={"type": ["string", "null"]}),
            query={"after": _TEXT, "limit": {"type": "integer", "minimum": 1, "maximum": 1000}},
        )},
        model: {
            "get": _operation("The figures of a model", "read", _ANY),
            "put": _operation(
                "Create a model; the body is its configuration", "admin",
                _object("model", "config", "position", model=_TEXT, config=_ANY, position=_COUNT),
                _ANY, query={"copy_of": _TEXT, "if_exists": {"enum": ["error", "same"]}},
                status="201",
            ),
            "delete": _operation("Drop a model", "admin", None, status="204"),
        },
        model + "/labels": {"get": _operation(
            "The labels of a model: both, or a page of many from the id first on", "read",
            _object("labels", "next", labels=_array(_object("label", label=_LABEL)),
                    next={"type": ["integer", "null"]}),
            query={"first": _COUNT, "count": _COUNT},
        )},
        model + "/inspect": {"get": _operation(
            "Calibration, confusion, and the strongest features; of many classes for label", "read",
            _INSPECTION,
            query={"top": {"type": "integer", "minimum": 0, "maximum": 1000, "default": 20},
                   "contains": _TEXT, "label": _TEXT},
        )},
        model + "/learn": {"post": _operation(
            "Learn a sample, samples, or a line each; the margins that they had before", "learn",
            {"oneOf": [_MARGIN, _object("margins", margins=_array(_SCORE))]},
            {"oneOf": [_LEARNED, _BETTER,
                       _object("samples", samples=_array({"oneOf": [_LEARNED, _BETTER]}))]},
            line=({"oneOf": [_LEARNED, _BETTER]}, _MARGIN),
        )},
        model + "/predict": {"post": _operation(
            "Predict a sample, samples, or a line each; to hold them takes the role learn", "read",
            {"anyOf": [_LABELLING, _SCORED,
                       _object("predictions", predictions=_array(_PREDICTION))]},
            _one_or_many("samples", _SAMPLE, **_ASKING),
            line=(_SAMPLE, _PREDICTION), query=_ASKING,
        )},
        model + "/label": {"post": _operation(
            "Learn held samples by their keys", "learn",
            {"oneOf": [_object("outcome", outcome=_OUTCOME),
                       _object("outcomes", outcomes=_array(_OUTCOME))]},
            _one_or_many("labels", _LABELLED),
        )},
        model + "/explain": {"post": _operation(
            "Explain predictions, of many classes the score of label, over that of other", "read",
            _one_or_many("explanations", _EXPLANATION),
            _one_or_many("samples", _SAMPLE, label=_NAME, other=_NAME),
        )},
        model + "/features": {"post": _operation(
            "Show the features that the model makes of samples", "read",
            {"oneOf": [_object("features", features=_array(_PAIR)),
                       _object("samples", samples=_array(_array(_PAIR)))]},
            _one_or_many("samples", _SAMPLE),
        )},
        "/v1/overview": {"get": _operation(
            "A page of the models with their samples a second", "read",
            _object("count", "matches", "rows", count=_COUNT, matches=_COUNT, rows=_array(_SEEN)),
            query={"search": _TEXT, "sort": {"enum": list(SORTS), "default": SORTS[0]},
                   "offset": _COUNT, "limit": {"type": "integer", "minimum": 0, "maximum": 200}},
        )},
        "/v1/history": {"get": _operation(
            "The figures of the last hour, of the daemon and of a model", "read",
            _object("second", "daemon", "model", second=_COUNT, daemon=_COLUMNS, model=_COLUMNS),
            query={"model": _TEXT},
        )},
        "/v1/live": {"get": _operation(
            "Figures as they come: an event a second, with the rows after the second since", "read",
            _TEXT, query={"model": _TEXT, "since": _COUNT}, media_type="text/event-stream",
        )},
        "/": {"get": _operation("The live page", None, _TEXT, media_type="text/html")},
        "/page/{name}": {"get": _operation("A file of the live page", None, _TEXT)},
        "/healthz": {"get": _operation("The door answers", None, _ANY)},
        "/readyz": {"get": _operation("The daemon answers, and serves", None, _ANY)},
        "/openapi.json": {"get": _operation("This document", None, _ANY)},
        "/metrics": {"get": _operation(
            "Figures for Prometheus", "read", _TEXT, query={"model": _TEXT},
            media_type="text/plain",
        )},
    }  # fmt: skip
    named = {"name": "model", "in": "path", "required": True, "schema": _TEXT}
    for path in paths:
        if path.startswith(model):
            paths[path]["parameters"] = [named]
    paths["/page/{name}"]["parameters"] = [named | {"name": "name"}]
    return {
        "openapi": "3.1.0",
        "info": {"title": "onlinesvm", "version": __version__},
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "paths": paths,
    }
