"""The routes: each by a real door to a real daemon, as the OpenAPI document describes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from onlinesvm import OnlineSVM
from tests.daemons import follow, serve
from tests.service.http.doors import DoorProcess, check_schema, problem

TAUGHT = [
    ({"free": 1, "prize": 2.5}, "spam", 1.0),
    (["minutes", "noon"], "ham", 2.0),
    (["free", "noon"], "spam", 1.0),
]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoorProcess]:
    state = tmp_path_factory.mktemp("state")
    with serve(state) as daemon, DoorProcess(daemon.endpoint) as door:
        yield door


@pytest.fixture(scope="module")
def document(door: DoorProcess) -> dict[str, Any]:
    found: dict[str, Any] = door.http.get("/openapi.json").json()
    return found


@pytest.fixture
def model(door: DoorProcess, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"m{abs(hash(request.node.nodeid))}"
    assert door.http.put(f"/v1/models/{name}", json={}).status_code == 201
    yield name
    assert door.http.delete(f"/v1/models/{name}").status_code == 204


def described(
    document: dict[str, Any], method: str, path: str, body: Any, answer: httpx.Response
) -> Any:
    """The value of an answer, which is as the document says; so is the body."""
    operation = document["paths"][path][method]
    if body is not None:
        check_schema(body, operation["requestBody"]["content"]["application/json"]["schema"])
    response = operation["responses"].get(str(answer.status_code))
    assert response is not None, (answer.status_code, answer.text)
    value = answer.json()
    check_schema(value, response["content"][answer.headers["content-type"]]["schema"])
    return value


def test_learn_predict_and_explain_as_the_model_does(
    door: DoorProcess, document: dict[str, Any], model: str
) -> None:
    own = OnlineSVM()

    def ask(op: str, body: Any) -> Any:
        answer = door.post(f"{model}/{op}", body)
        return described(document, "post", f"/v1/models/{{model}}/{op}", body, answer)

    samples = [dict(zip(("features", "label", "importance"), s, strict=True)) for s in TAUGHT]
    assert ask("learn", {"samples": samples[:2]}) == {"margins": own.learn(TAUGHT[:2]).tolist()}
    assert ask("learn", samples[2]) == {"margin": own.learn_one(*TAUGHT[2])}

    asked = [features for features, _, _ in TAUGHT]
    margins = own.decision_function(asked).tolist()
    labels = own.predict(asked).tolist()
    shares = own.predict_proba(asked).max(axis=1).tolist()
    body: dict[str, Any] = {"samples": [{"features": features} for features in asked]}
    assert ask("predict", body)["predictions"] == [
        {"label": label, "probability": share} for label, share in zip(labels, shares, strict=True)
    ]
    one = {"features": asked[1], "output": "margin", "id": 17}
    assert ask("predict", one) == {"label": labels[1], "margin": margins[1], "id": 17}
    assert ask("predict", body | {"output": "label"})["predictions"] == [
        {"label": label} for label in labels
    ]
    explained = ask("explain", {"features": asked[0]})
    expected = own.explain(asked[0])
    assert (explained["margin"], explained["label"]) == (expected.margin, expected.label)
    assert [part["name"] for part in explained["contributions"]] == [
        part.name for part in expected.contributions
    ]
    assert len(ask("explain", body)["explanations"]) == 3


def test_a_model_of_no_label(door: DoorProcess, model: str) -> None:
    assert door.post(f"{model}/predict", {"features": []}).json() == {
        "label": None, "probability": 0.5,
    }  # fmt: skip
    assert door.post(f"{model}/predict", {"samples": []}).json() == {"predictions": []}
    assert door.post(f"{model}/learn", {"samples": []}).json() == {"margins": []}
    assert door.http.get(f"/v1/models/{model}/labels").json()["labels"] == []


def test_models_are_created_listed_and_dropped(door: DoorProcess, document: dict[str, Any]) -> None:
    http, path = door.http, "/v1/models/{model}"
    made = described(
        document, "put", path, {"rule": "arow"}, http.put("/v1/models/one", json={"rule": "arow"})
    )
    assert made["config"]["rule"] == "arow"
    assert http.put("/v1/models/one?if_exists=same", json={"rule": "arow"}).status_code == 201
    problem(http.put("/v1/models/one", json={}), 409, "EXISTS")
    assert http.put("/v1/models/two?copy_of=one").json()["config"]["rule"] == "arow"
    page = described(document, "get", "/v1/models", None, http.get("/v1/models?limit=1&after=one"))
    assert [row["name"] for row in page["models"]] == ["two"]
    stats = described(document, "get", path, None, http.get("/v1/models/two"))
    assert (stats["rule"], stats["position"]) == ("arow", 0)
    for name in ("one", "two"):
        assert http.delete(f"/v1/models/{name}").status_code == 204
        problem(http.get(f"/v1/models/{name}"), 404, "NO_MODEL")
    problem(http.delete("/v1/models/one"), 404, "NO_MODEL")
    problem(http.put("/v1/models/one", json={"eta": 1}), 400, "BAD_REQUEST")


def test_a_configuration_names_no_file_of_the_door(door: DoorProcess, tmp_path: Path) -> None:
    snapshot = tmp_path / "m.msgpack"
    OnlineSVM().save(snapshot)
    problem(door.http.put("/v1/models/taken", json={"file": str(snapshot)}), 400, "BAD_REQUEST")
    problem(door.http.get("/v1/models/taken"), 404, "NO_MODEL")


def test_a_model_of_many_labels(door: DoorProcess, document: dict[str, Any]) -> None:
    assert door.http.put("/v1/models/many", json={"task": "multiclass"}).status_code == 201
    rows = [{"features": [name], "label": name} for name in ("red", "green", "blue")]
    assert len(door.post("many/learn", {"samples": rows * 5}).json()["margins"]) == 15
    body = {"features": ["green"], "top": 0}
    path = "/v1/models/{model}/predict"
    found = described(document, "post", path, body, door.post("many/predict", body))
    assert found["label"] == "green"
    assert len(found["probabilities"]) == 3
    assert found["probabilities"][0] == ["green", found["probability"]]
    assert sum(share for _, share in found["probabilities"]) == pytest.approx(1)
    assert door.post("many/predict", {"features": ["green"]}).json().keys() == {
        "label",
        "probability",
    }
    scored = door.post("many/predict", body | {"output": "margin", "top": 2}).json()
    assert scored["margins"][0] == ["green", scored["margin"]]
    assert len(scored["margins"]) == 2
    lead = door.post("many/explain", {"features": ["green"], "label": "green", "other": "red"})
    assert lead.json()["margin"] > 0
    page = described(
        document, "get", "/v1/models/{model}/labels", None,
        door.http.get("/v1/models/many/labels?first=1&count=1"),
    )  # fmt: skip
    assert [row["label"] for row in page["labels"]] == ["green"]
    assert page["next"] == 2


def test_a_model_of_many_labels_reads_text(door: DoorProcess, document: dict[str, Any]) -> None:
    body = {"task": "multiclass", "numbers": "prefixes"}
    assert door.http.put("/v1/models/tickets", json=body).status_code == 201
    rows = [
        {"features": "I was charged twice", "label": "billing"},
        {"features": {"subject": "Where is my parcel?", "days": 3}, "label": "shipping"},
        {"features": "I forgot my password", "label": "account"},
    ]
    model = OnlineSVM(task="multiclass", numbers="prefixes")
    margins = model.learn([(row["features"], row["label"]) for row in rows * 5])
    found = door.post("tickets/learn", {"samples": rows * 5}).json()
    assert found["margins"] == margins.tolist()
    asked = {"features": "my card was charged"}
    assert door.post("tickets/predict", asked).json()["label"] == "billing"
    named = asked | {"label": "billing", "other": "shipping"}
    path = "/v1/models/{model}/explain"
    shown = described(document, "post", path, named, door.post("tickets/explain", named))
    wanted = model.explain(asked["features"], "billing", "shipping")
    assert shown["margin"] == wanted.margin
    assert [part["text"] for part in shown["fields"][0]["text"]] == [
        part.text for part in wanted.fields[0].text
    ]


def test_a_model_of_sets_of_labels(door: DoorProcess, document: dict[str, Any]) -> None:
    assert door.http.put("/v1/models/sets", json={"task": "multilabel"}).status_code == 201
    rows = [{"features": ["a", "b"], "label": ["x", "y"]}, {"features": ["c"], "label": []}] * 30
    body: dict[str, Any] = {"samples": rows}
    path = "/v1/models/{model}/learn"
    assert len(described(document, "post", path, body, door.post("sets/learn", body))) == 1
    path = "/v1/models/{model}/predict"
    for more, names in ({}, {"x", "y"}), ({"top": 1}, None), ({"output": "label"}, {"x", "y"}):
        body = {"features": ["a", "b"], **more}
        found = described(document, "post", path, body, door.post("sets/predict", body))
        if "output" in more:
            assert set(found["label"]) == names
        elif names:
            assert {label for label, _ in found["probabilities"]} == names
        else:
            assert found["probabilities"] == [[found["label"], found["probability"]]]
    none = door.post("sets/predict", {"features": ["c"]}).json()
    assert none == {"label": None, "probability": None, "probabilities": []}
    known = door.http.get("/v1/models/sets/labels").json()["labels"]
    assert {row["label"] for row in known} == {"x", "y"}
    assert door.http.delete("/v1/models/sets").status_code == 204


def test_labels_that_come_later(door: DoorProcess, document: dict[str, Any], model: str) -> None:
    def ask(op: str, body: Any) -> Any:
        answer = door.post(f"{model}/{op}", body)
        return described(document, "post", f"/v1/models/{{model}}/{op}", body, answer)

    samples = [{"features": ["free"], "hold": "a"}, {"features": ["noon"], "hold": 7}]
    body = {"samples": samples, "ttl_s": 60, "default_label": "ham", "output": "label"}
    assert ask("predict", body)["predictions"] == [{"label": None}] * 2
    again = ask("predict", {"features": ["else"], "hold": "a"})
    assert again["duplicate"] is True
    assert ask("label", {"key": "a", "label": "spam"}) == {"outcome": "learned"}
    rows = [{"key": "a", "label": "spam"}, {"key": 7, "label": "ham", "importance": 2}]
    assert ask("label", {"labels": [*rows, {"key": "b", "label": 1}]}) == {
        "outcomes": ["duplicate", "learned", "unknown"]
    }
    stats = door.http.get(f"/v1/models/{model}").json()
    assert (stats["position"], stats["labelled"], stats["held"]) == (2, 2, 0)


@pytest.mark.parametrize(
    ("op", "body", "at"),
    [
        ("learn", {"samples": [{"features": ["a"], "label": 1}, {"label": 1}]}, "$.samples[1]"),
        ("learn", {"features": ["a"]}, "$"),
        ("learn", {"features": {"a": {}}, "label": 1}, '$.features["a"]'),
        ("learn", {"features": {"a": 1}, "label": 1.5}, "$.label"),
        ("learn", {"features": {"a": 1}, "label": 1, "importance": -1}, "$.importance"),
        ("learn", {"features": {"a": 1}, "label": 1, "importance": "much"}, "$.importance"),
        ("learn", {"features": {"a": 1}, "label": 1, "importance": 10**400}, "$.importance"),
        ("learn", {"samples": [{"features": 7, "label": 1}]}, "$.samples[0].features"),
        ("predict", {"samples": [{"features": ["a"]}, {"features": ["a", []]}]},
         "$.samples[1].features[1]"),
        ("predict", {"samples": [{"features": ["a"]}, {"features": ["a"], "hold": 1}]},
         "$.samples[1].hold"),
        ("predict", {"samples": [{"features": ["a"], "hold": "k"},
                                 {"features": {"b": {}}, "hold": "l"}]},
         '$.samples[1].features["b"]'),
        ("predict", {"samples": [{"features": ["a"], "hold": "k"},
                                 {"features": ["a"], "hold": "k" * 65}]}, "$.samples[1].hold"),
        ("explain", {"features": {"a": {}}}, '$.features["a"]'),
        ("label", {"labels": [{"key": "k", "label": 1}, {"key": "", "label": 1}]},
         "$.labels[1].key"),
        ("label", {"key": "k"}, "$"),
        ("label", {"key": "k", "label": 1, "importance": -1}, "$.importance"),
    ],
)  # fmt: skip
def test_a_problem_names_its_place(
    door: DoorProcess, model: str, op: str, body: dict[str, Any], at: str
) -> None:
    found = problem(door.post(f"{model}/{op}", body), 422, "BAD_SAMPLE")
    index = 1 if "[1]." in at or at.endswith("s[1]") else 0
    assert (found["at"], found["sample"]) == (at, index)
    assert door.http.get(f"/v1/models/{model}").json()["position"] == 0
    assert door.http.get(f"/v1/models/{model}").json()["held"] == 0


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"features": [], "output": "odds"}, "$.output"),
        ({"features": [], "output": []}, "$.output"),
        ({"features": [], "top": -1}, "$.top"),
        ({"features": [], "top": True}, "$.top"),
        ({"features": [], "top": 1e400}, "$.top"),
        ({"features": [], "hold": "k", "ttl_s": "long"}, "$.ttl_s"),
        ({"features": [], "hold": "k", "default_label": 1.5}, "$.default_label"),
        ({"features": [], "ttl_s": 5}, "$"),
        ({"samples": 5}, "$.samples"),
        ({"samples": [], "features": []}, "$"),
    ],
)
def test_a_request_that_asks_for_what_there_is_not(
    door: DoorProcess, body: dict[str, Any], at: str
) -> None:
    text = str(body).replace("'", '"').replace("True", "true").replace("inf", "1e400")
    answer = door.http.post(
        "/v1/models/default/predict", content=text, headers={"Content-Type": "application/json"}
    )
    assert problem(answer, 400, "BAD_REQUEST")["at"] == at


def test_paths_and_methods_that_there_are_not(door: DoorProcess) -> None:
    problem(door.http.get("/v1/nothing"), 404, "NOT_FOUND")
    refused = door.http.post("/v1/models")
    problem(refused, 405, "METHOD_NOT_ALLOWED")
    assert "GET" in refused.headers["allow"]
    for query in ("limit=0", "limit=1001", "limit=x", "limit=-1", "after=%00", "limit=" + "9" * 99):
        problem(door.http.get(f"/v1/models?{query}"), 400, "BAD_REQUEST")


def test_health(door: DoorProcess) -> None:
    assert door.http.get("/healthz").json() == {"status": "ok"}
    assert door.http.get("/readyz").json() == {"status": "ok", "mode": "leader"}


def test_the_document_lists_every_route(document: dict[str, Any]) -> None:
    from onlinesvm.service.client.async_client import AsyncClient
    from onlinesvm.service.http.app import application
    from onlinesvm.service.http.tokens import Tokens

    routes: list[Any] = application(AsyncClient("tcp://127.0.0.1:1"), Tokens({})).routes
    found = {
        (route.path.replace(":path", ""), method.lower())
        for route in routes
        for method in route.methods
    }
    listed = {
        (path, method)
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert {pair for pair in found if pair[1] != "head"} == listed


def test_a_reader_predicts_and_learns_nothing(tmp_path: Path) -> None:
    with serve(tmp_path) as leader:
        leader.client().learn([(["free"], "spam"), (["noon"], "ham")])
        leader.client().snapshot()
        with follow(tmp_path) as reader, DoorProcess(reader.endpoint) as door:
            assert door.http.get("/readyz").json()["mode"] == "reader"
            body = {"features": ["free"]}
            assert door.post("default/predict", body).json()["label"] == "spam"
            problem(door.post("default/learn", body | {"label": 1}), 409, "READ_ONLY")
            problem(door.post("default/predict", body | {"hold": "k"}), 409, "READ_ONLY")
            problem(door.post("default/label", {"key": "k", "label": 1}), 409, "READ_ONLY")
            problem(door.http.put("/v1/models/new", json={}), 409, "READ_ONLY")
            assert b"onlinesvm_samples_total" in door.http.get("/metrics").content


def test_features_are_shown(door: DoorProcess, document: dict[str, Any], model: str) -> None:
    own = OnlineSVM()
    path = "/v1/models/{model}/features"
    for features in ("Free prize", {"subject": "free", "len": 3}, ["a", "b"]):
        body = {"features": features}
        shown = described(document, "post", path, body, door.post(f"{model}/features", body))
        assert [tuple(pair) for pair in shown["features"]] == own.features(features)
    body = {"samples": [{"features": ["a"]}, {"features": []}]}
    shown = described(document, "post", path, body, door.post(f"{model}/features", body))
    assert shown == {"samples": [[["a", 1.0]], []]}
    held = {"features": ["a"], "hold": "k"}
    problem(door.post(f"{model}/features", held), 400, "BAD_REQUEST")
    problem(door.post(f"{model}/explain", held), 400, "BAD_REQUEST")


def test_a_ranking(door: DoorProcess, document: dict[str, Any]) -> None:
    assert door.http.put("/v1/models/rank", json={"task": "ranking"}).status_code == 201
    own = OnlineSVM(task="ranking")
    pairs = [(["new"], ["old"]), (["new", "big"], ["old", "big"])]
    body = {"samples": [{"better": better, "worse": worse} for better, worse in pairs]}
    path = "/v1/models/{model}/learn"
    learned = described(document, "post", path, body, door.post("rank/learn", body))
    assert learned["margins"] == own.learn(pairs).tolist()
    one = {"features": ["new"], "output": "margin"}
    scored = described(
        document, "post", path.replace("learn", "predict"), one, door.post("rank/predict", one)
    )
    assert scored == {"margin": own.decision_function([["new"]])[0]}
    bad = {"samples": [body["samples"][0], {"better": ["a"], "worse": {"b": {}}}]}
    found = problem(door.post("rank/learn", bad), 422, "BAD_SAMPLE")
    assert found["at"] == '$.samples[1].worse["b"]'
    problem(door.post("rank/predict", {"features": ["new"]}), 400, "BAD_REQUEST")
    assert door.http.delete("/v1/models/rank").status_code == 204


def test_two_models_at_once_keep_to_themselves(door: DoorProcess, model: str) -> None:
    door.post(f"{model}/learn", {"features": ["free"], "label": "yes"})
    door.post("default/learn", {"features": ["free"], "label": "spam"})
    assert door.post(f"{model}/predict", {"features": ["free"]}).json()["label"] == "yes"
    assert door.post("default/predict", {"features": ["free"]}).json()["label"] == "spam"
