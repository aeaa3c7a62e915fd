"""What a caller gets from the served Bento: answers, refusals, and what the log keeps of them."""

import json
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import pytest

from serving.requests import example_row
from takeoff import files, model, paths
from takeoff.contract import read_contract
from takeoff.features import features
from tests.small_package import Packed, packing
from tests.small_release import PROJECT, small_rows
from tests.small_service import JSON, Service, as_sent, serving

pytestmark = pytest.mark.slow

CONTRACT = read_contract(PROJECT)
EXAMPLE = example_row(CONTRACT)
KEYS = ("a first key", "a-second-key")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packed]:
    with packing(tmp_path_factory.mktemp("packed"), "boosted") as packed:
        yield packed


@pytest.fixture(scope="module")
def service(packed: Packed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(packed, tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(scope="module")
def guarded(packed: Packed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(packed, tmp_path_factory.mktemp("guarded"), api_keys=", ".join(KEYS)) as service:
        yield service


def logged(service: Service, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(f"file:{service.folder}/log/predictions.db?mode=ro", uri=True)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def released(packed: Packed) -> model.Model:
    return model.load(packed.folder / paths.RELEASED)


# answers


def test_a_served_probability_is_the_offline_one_to_the_bit(packed: Packed, service: Service) -> None:
    rows = small_rows().sample(300, random_state=1)
    assert rows[list(CONTRACT.columns)].isna().any(axis=None)
    offline = model.predict(released(packed).session, features(rows, CONTRACT))

    answers = [service.post("/predict", as_sent(row, CONTRACT))[1] for row in rows.to_dict("records")]

    served = [[answer["probabilities"][name] for name in CONTRACT.target.classes] for answer in answers]
    np.testing.assert_array_equal(np.array(served, dtype="float32"), offline)
    assert [answer["probability"] for answer in answers] == [p[-1] for p in served]
    assert len(np.unique(offline[:, -1])) > 50  # or equal answers would prove little


def test_a_batch_is_answered_as_its_rows_one_by_one(packed: Packed, service: Service) -> None:
    rows = small_rows().sample(1_000, random_state=2)
    offline = model.predict(released(packed).session, features(rows, CONTRACT))

    status, answer = service.post(
        "/predict_batch", {"rows": [as_sent(row, CONTRACT) for row in rows.to_dict("records")]}
    )

    assert status == 200
    served = np.array([each["probability"] for each in answer["predictions"]], dtype="float32")
    np.testing.assert_array_equal(served, offline[:, -1])
    assert len({each["prediction_id"] for each in answer["predictions"]}) == len(rows)


def test_an_answer_decides_by_the_released_threshold_and_names_its_model(
    packed: Packed, service: Service
) -> None:
    card = files.read_json(packed.folder / paths.RELEASED / model.CARD_FILE)
    rows = [as_sent(row, CONTRACT) for row in small_rows().sample(200, random_state=3).to_dict("records")]

    answers = service.post("/predict_batch", {"rows": rows})[1]["predictions"]

    event = CONTRACT.target.classes[-1]
    decided = [answer["decision"] == event for answer in answers]
    assert decided == [answer["probability"] >= card["decision"]["threshold"] for answer in answers]
    assert len(set(decided)) == 2
    assert {answer["model_version"] for answer in answers} == {service.get("/model")[1]["model_version"]}


def test_a_human_is_asked_for_inside_the_band_and_only_there(service: Service) -> None:
    band = service.get("/model")[1]["review_band"]
    rows = [as_sent(row, CONTRACT) for row in small_rows().sample(500, random_state=4).to_dict("records")]

    answers = service.post("/predict_batch", {"rows": rows})[1]["predictions"]

    clear = [
        each for each in answers if min(abs(each["probability"] - edge) for edge in band.values()) > 0.001
    ]
    inside = [band["from"] < each["probability"] < band["to"] for each in clear]
    assert [each["review"] for each in clear] == inside
    assert len(set(inside)) == 2


def test_a_value_that_training_never_saw_is_answered_with_a_warning(service: Service) -> None:
    known = as_sent(small_rows().iloc[0], CONTRACT)

    status, answer = service.post("/predict", known | {"carrier": "QQ", "distance": 9_999})

    assert status == 200
    assert {each["field"] for each in answer["warnings"]} == {"carrier", "distance"}
    assert service.post("/predict", known)[1]["warnings"] == []


def test_a_number_that_was_never_missing_in_training_is_answered_with_a_warning(service: Service) -> None:
    known = as_sent(small_rows().iloc[0], CONTRACT)
    nullable = [name for name in CONTRACT.numbers if CONTRACT.columns[name].missing]
    without_gaps = [name for name in nullable if small_rows()[name].notna().all()]
    assert 0 < len(without_gaps) < len(nullable)

    status, answer = service.post("/predict", known | dict.fromkeys(nullable))

    assert status == 200
    assert [each["field"] for each in answer["warnings"]] == without_gaps


def test_bentomls_own_path_gives_the_same_answers_and_refusals(
    packed: Packed, service: Service, tmp_path: Path
) -> None:
    rows = [as_sent(row, CONTRACT) for row in small_rows().sample(30, random_state=5).to_dict("records")]
    bodies: list[tuple[str, Any]] = [("/predict", row) for row in rows]
    bodies += [
        ("/predict_batch", {"rows": rows}),
        ("/predict", EXAMPLE | {"origin": "LAX"}),
        ("/predict", b"{"),
    ]

    with serving(packed, tmp_path, fast_path="false") as slow:
        answers = [(service.post(*each), slow.post(*each)) for each in bodies]

    for fast, other in answers:
        assert without_ids(fast) == without_ids(other)


def without_ids(answer: Any) -> Any:
    return json.loads(
        json.dumps(answer), object_hook=lambda item: {k: v for k, v in item.items() if k != "prediction_id"}
    )


def test_bentomls_client_can_ask(service: Service) -> None:
    with bentoml.SyncHTTPClient(f"http://127.0.0.1:{service.port}") as client:
        one = client.predict(EXAMPLE)
        many = client.predict_batch(rows=[EXAMPLE])

    assert one["probability"] == many["predictions"][0]["probability"]


def test_the_outermost_layer_is_ours(service: Service) -> None:
    _, headers, _ = service.ask("POST", "/predict", json.dumps(EXAMPLE).encode(), JSON)

    # BentoML's layers would each have left a header.
    assert set(headers) <= {"content-type", "content-length", "date", "connection"}


# refusals


def test_a_bad_row_in_a_batch_is_named_and_nothing_is_predicted(service: Service) -> None:
    before = logged(service, "SELECT count(*) FROM predictions")

    status, answer = service.post("/predict_batch", {"rows": [EXAMPLE, EXAMPLE | {"weekday": 9}]})

    assert status == 422
    assert [(each["row"], each["field"]) for each in answer["error"]["problems"]] == [(1, "weekday")]
    assert logged(service, "SELECT count(*) FROM predictions") == before


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/predict", None, {}, 405),
        ("POST", "/model", b"{}", JSON, 405),
        ("GET", "/no/such/path", None, {}, 404),
        ("POST", "/predict", b"{}", {"Content-Type": "text/plain"}, 415),
        ("POST", "/predict", b"{}", {}, 415),
        ("POST", "/predict", b"{}", {"Content-Type": "application/json; charset=latin-1"}, 415),
        ("POST", "/predict", b"\x1f\x8b", {**JSON, "Content-Encoding": "gzip"}, 415),
        ("POST", "/predict", b"--x--", {"Content-Type": "multipart/form-data"}, 415),
        ("POST", "/predict", b"", JSON, 400),
        ("POST", "/predict", b'{"carrier": "\xff"}', JSON, 400),
        ("POST", "/predict", '{"carrier": "\ud800"}'.encode("utf-16", "surrogatepass"), JSON, 400),
        ("POST", "/predict", b"[" * 60_000, JSON, 400),
        ("POST", "/predict", b" " * 70_000, JSON, 413),
        ("POST", "/predict", b'{"distance": 1e999}', JSON, 422),
        ("POST", "/predict", b"null", JSON, 422),
        ("POST", "/feedback", b'{"labels": [{"prediction_id": "1", "label": "late"}]}', JSON, 422),
    ],
)
def test_a_bad_request_gets_its_status_and_a_reason_without_insides(
    method: str, path: str, body: bytes | None, headers: dict[str, str], status: int, service: Service
) -> None:
    given, _, answer = service.ask(method, path, body, headers)

    assert given == status
    text = json.dumps(answer)
    assert answer["error"]["message"]
    assert not any(word in text for word in ("Traceback", "site-packages", "pydantic.dev", str(Path.home())))


def test_a_body_over_the_limit_is_refused_without_being_kept(packed: Packed, tmp_path: Path) -> None:
    with serving(packed, tmp_path, max_body_mb="0.5") as small:
        status, answer = small.post("/predict_batch", b'{"rows": [' + b" " * 700_000)

    assert (status, answer["error"]["code"]) == (413, "too_large")
    assert "512 KiB" in answer["error"]["message"]


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/no", 404), ("GET", "/docs.json", 200)])
def test_who_ends_the_connection_with_a_large_body_that_nobody_wants_is_answered(
    method: str, path: str, status: int, service: Service
) -> None:
    last = {"Connection": "close", **JSON}  # as urllib sends it, which reads nothing before it has sent all

    answers = [service.ask(method, path, b" " * 8 * 2**20, last) for _ in range(5)]

    assert [given for given, _, _ in answers] == [status] * 5


@pytest.mark.parametrize(("path", "status"), [("/no", 404), ("/predict", 413)])
def test_who_asks_before_it_sends_a_body_that_is_refused_need_not_send_it(
    path: str, status: int, service: Service
) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as client:
        client.sendall(f"{head}Content-Length: 100000\r\nExpect: 100-continue\r\n\r\n".encode())
        assert client.recv(2**16).startswith(f"HTTP/1.1 {status} ".encode())


# keys


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_every_key_opens(scheme: str, key: str, guarded: Service) -> None:
    assert guarded.post("/predict", EXAMPLE, {"Authorization": f"{scheme} {key}"})[0] == 200


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {KEYS[0]}", KEYS[0], "Bearer ü"]
)
@pytest.mark.parametrize(
    "path", ["/predict", "/predict_batch", "/feedback", "/model", "/metrics", "/docs.json", "/", "/nowhere"]
)
def test_without_a_key_everything_but_health_is_closed(path: str, header: str, guarded: Service) -> None:
    method = "POST" if path in ("/predict", "/predict_batch", "/feedback") else "GET"

    status, headers, answer = guarded.ask(
        method, path, b"{}", {**JSON, "Authorization": header.encode("latin-1")}
    )  # type: ignore[dict-item]

    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert answer == {"error": {"code": "unauthorized", "message": "Unauthorized.", "problems": []}}
    assert {guarded.get(path)[0] for path in ("/livez", "/readyz")} == {200}


# the log


def test_the_log_keeps_what_was_asked_and_answered(service: Service) -> None:
    row = EXAMPLE | {CONTRACT.id: "mine", CONTRACT.time.column: "2013-07-01T21:45:00Z", "temperature": None}

    answer = service.post("/predict", row)[1]

    [(kept, probability, decision, review, version, row_id, row_time, latency)] = logged(
        service,
        "SELECT row, probability, decision, review, model_version, row_id, row_time, latency_ms "
        "FROM predictions WHERE id = ?",
        answer["prediction_id"],
    )
    assert json.loads(kept) == [row[name] for name in CONTRACT.columns]
    assert (probability, decision, bool(review), version) == tuple(
        answer[name] for name in ("probability", "decision", "review", "model_version")
    )
    assert (row_id, row_time) == ("mine", 1372715100)
    assert latency > 0


def test_a_label_counts_once_however_often_it_is_sent(service: Service) -> None:
    id_ = service.post("/predict", EXAMPLE)[1]["prediction_id"]
    right, wrong = reversed(CONTRACT.target.classes)

    answers = [
        service.post("/feedback", {"labels": [{"prediction_id": id_, "label": label}]})[1]
        for label in (wrong, wrong, right)
    ]

    outcomes = [[name for name in ("stored", "repeated", "changed") if answer[name]] for answer in answers]
    assert outcomes == [["stored"], ["repeated"], ["changed"]]
    assert logged(service, "SELECT label FROM labels WHERE prediction_id = ?", id_) == [(right,)]


def test_a_label_of_an_unknown_prediction_is_kept_and_said_to_be_unknown(service: Service) -> None:
    id_ = "01997a0e-6d2b-7c41-9b5e-3f8f5d1c2a77"

    status, answer = service.post(
        "/feedback", {"labels": [{"prediction_id": id_, "label": CONTRACT.target.classes[0]}]}
    )

    assert (status, answer["unknown"]) == (200, [id_])


# operation


def test_what_serves_is_the_example_in_the_documentation(service: Service) -> None:
    answers = service.get("/docs.json")[1]["paths"]["/model"]["get"]["responses"]

    assert answers["200"]["content"]["application/json"]["example"] == service.get("/model")[1]


def test_what_serves_is_described(packed: Packed, service: Service) -> None:
    card = files.read_json(packed.folder / paths.RELEASED / model.CARD_FILE)

    described = service.get("/model")[1]

    assert described["contract_hash"] == CONTRACT.hash
    assert described["onnx_sha256"] == card["onnx_sha256"]
    assert described["threshold"] == card["decision"]["threshold"]
    assert described["training"]["rows"] == card["training"]["rows"]
    assert described["bento"] == packed.report["bento"]


def test_metrics_count_what_was_answered_and_refused(packed: Packed, tmp_path: Path) -> None:
    with serving(packed, tmp_path) as fresh:
        for _ in range(3):
            fresh.post("/predict", EXAMPLE)
        fresh.post("/predict_batch", {"rows": [EXAMPLE] * 4})
        fresh.post("/predict", EXAMPLE | {"weekday": 9})
        text = fresh.get("/metrics")[1]

    counted = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line[:1] != "#"
    }
    assert counted['takeoff_requests_total{endpoint="/predict",status="200"}'] == 3
    assert counted['takeoff_refusals_total{reason="invalid"}'] == 1
    assert sum(count for name, count in counted.items() if name.startswith("takeoff_predictions_total")) == 7
    assert counted['takeoff_log_rows_total{where="database"}'] == 7


def test_it_is_not_ready_when_the_model_does_not_say_what_it_said(packed: Packed, tmp_path: Path) -> None:
    golden = packed.bento / "src" / "models" / "reference" / "golden.json"
    text = golden.read_text()
    planted = json.loads(text)
    planted["probabilities"][0] = planted["probabilities"][0][::-1]
    golden.write_text(json.dumps(planted))
    try:
        service = Service(tmp_path, packed.store, packed.report["bento"], {})
        try:
            said = service.wait_for(503)
        finally:
            service.stop()
    finally:
        golden.write_text(text)

    assert said["golden_rows"].startswith("off by 0.")


def test_a_wrong_setting_stops_the_service_with_one_plain_line(packed: Packed, tmp_path: Path) -> None:
    with pytest.raises(BaseException, match="did not start") as caught, serving(packed, tmp_path, worker="2"):
        pass

    assert "unknown key 'worker'; did you mean 'workers'?" in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_secret_in_a_wrong_setting_is_not_repeated(packed: Packed, tmp_path: Path) -> None:
    with pytest.raises(BaseException, match="did not start") as caught:  # noqa: SIM117
        with serving(packed, tmp_path, log_url="mysql://someone:secret-word@host/log"):
            pass

    assert "secret-word" not in str(caught.value)


def test_it_stops_with_what_it_was_told_in_the_log(packed: Packed, tmp_path: Path) -> None:
    with serving(packed, tmp_path) as fresh:
        answer = fresh.post("/predict", EXAMPLE)[1]
        assert fresh.stop() == 0

        assert logged(fresh, "SELECT id FROM predictions") == [(answer["prediction_id"],)]
