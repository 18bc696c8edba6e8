"""The description of the API (OpenAPI 3.1)."""

from __future__ import annotations

from typing import Any

from onlinesvm.version import __version__

__all__ = ["document"]

_FEATURES = {
    "description": "names, a map from name to number, a text, or a record of fields",
    "oneOf": [
        {"type": "array", "items": {"type": ["string", "integer"]}},
        {"type": "object"},
        {"type": "string"},
    ],
}
_LABEL = {"type": ["string", "integer", "boolean"]}
_SAMPLE: dict[str, Any] = {
    "type": "object",
    "required": ["features"],
    "properties": {
        "features": _FEATURES,
        "label": _LABEL,
        "importance": {"type": "number", "minimum": 0, "default": 1},
        "id": {"description": "comes back with its line"},
    },
}
_PREDICTION = {
    "type": "object",
    "properties": {
        "label": {"type": [*_LABEL["type"], "null"]},
        "probability": {"type": ["number", "null"]},
        "probabilities": {"type": "array", "description": "of many classes: [label, probability]"},
        "margin": {"type": ["number", "null"]},
        "scores": {"type": "array", "description": "of many classes: [label, score]"},
    },
}
_EXPLANATION = {
    "type": "object",
    "properties": {
        "margin": {"type": ["number", "null"]},
        "label": {"type": [*_LABEL["type"], "null"]},
        "bias": {"type": "number"},
        "contributions": {"type": "array", "items": {"type": "object"}},
    },
}
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457, with the daemon's code, the place in the body, and the sample",
    "properties": {
        "type": {"type": "string"},
        "status": {"type": "integer"},
        "title": {"type": "string"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "at": {"type": "string"},
        "sample": {"type": "integer"},
    },
}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _array(of: Any) -> dict[str, Any]:
    return {"type": "array", "items": of}


def _operation(
    summary: str,
    answer: dict[str, Any] | None,
    body: dict[str, Any] | None = None,
    *,
    line: tuple[dict[str, Any], dict[str, Any]] | None = None,
    parameters: tuple[str, ...] = (),
    status: str = "200",
) -> dict[str, Any]:
    """An operation; line: what a line holds of a body and of an answer of NDJSON."""
    content = {} if answer is None else {"application/json": {"schema": answer}}
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {
            status: {"description": "done", "content": content},
            "default": {
                "description": "a problem",
                "content": {"application/problem+json": {"schema": _PROBLEM}},
            },
        },
        "parameters": [
            {"name": name, "in": "query", "schema": {"type": "string"}} for name in parameters
        ],
    }
    if body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
    if line is not None:
        operation["requestBody"]["content"]["application/x-ndjson"] = {"schema": line[0]}
        content["application/x-ndjson"] = {"schema": line[1]}
    return operation


def document() -> dict[str, Any]:
    """The whole document."""
    labelled = _SAMPLE | {"required": ["features", "label"]}
    margin = _object(margin={"type": "number"})
    many = {"samples": _array(_SAMPLE)}
    of_model = {
        "get": _operation("The figures of a model", {"type": "object"}),
        "put": _operation(
            "Create a model; the body is its configuration", {"type": "object"}, {"type": "object"},
            parameters=("copy_of", "if_exists"), status="201",
        ),
        "delete": _operation("Drop a model", None, status="204"),
    }  # fmt: skip
    asking = {
        "output": {"enum": ["probability", "label", "margin"], "default": "probability"},
        "top": {"type": "integer", "default": 1, "description": "labels of many; 0 is all"},
    }
    paths: dict[str, Any] = {
        "/v1/models": {
            "get": _operation(
                "A page of the models",
                _object(models=_array({"type": "object"}), count={"type": "integer"},
                        next={"type": ["string", "null"]}),
                parameters=("after", "limit"),
            )
        },
        "/v1/models/{model}": of_model,
        "/v1/models/{model}/labels": {
            "get": _operation("The labels of a model", {"type": "object"}, parameters=("first",))
        },
        "/v1/models/{model}/learn": {
            "post": _operation(
                "Learn a sample, samples, or a line each",
                {"oneOf": [margin, _object(margins=_array({"type": "number"}))]},
                {"oneOf": [labelled, _object(samples=_array(labelled))]},
                line=(labelled, margin),
            )
        },
        "/v1/models/{model}/predict": {
            "post": _operation(
                "Predict a sample, samples, or a line each (output and top as parameters)",
                {"oneOf": [_PREDICTION, _object(predictions=_array(_PREDICTION))]},
                {"oneOf": [_SAMPLE | {"properties": _SAMPLE["properties"] | asking},
                           _object(**many, **asking)]},
                line=(_SAMPLE, _PREDICTION),
                parameters=("output", "top"),
            )
        },
        "/v1/models/{model}/explain": {
            "post": _operation(
                "Explain predictions",
                {"oneOf": [_EXPLANATION, _object(explanations=_array(_EXPLANATION))]},
                {"oneOf": [_SAMPLE, _object(**many, label=_LABEL, other=_LABEL)]},
            )
        },
        "/healthz": {"get": _operation("The door answers", {"type": "object"})},
        "/readyz": {"get": _operation("The daemon answers, and serves", {"type": "object"})},
        "/metrics": {"get": _operation("Figures for Prometheus", None)},
    }  # fmt: skip
    for path, operations in paths.items():
        if "{model}" in path:
            operations["parameters"] = [
                {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
            ]
    return {
        "openapi": "3.1.0",
        "info": {"title": "onlinesvm", "version": __version__},
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}, {}],
        "paths": paths,
    }
