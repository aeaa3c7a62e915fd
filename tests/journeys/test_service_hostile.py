"""Whatever is sent, the service answers or says what is wrong, and its log holds exactly what it answered."""

import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.refusals import LONGEST_GIVEN
from serving.requests import example_row
from takeoff.contract import read_contract
from tests.evidence import logged_ids
from tests.mutations import Mutant, mutants
from tests.small_package import Packed
from tests.small_release import PROJECT, small_rows
from tests.small_service import Service, as_sent, serving
from tests.traffic import Reply, answered_ids, send_all

pytestmark = pytest.mark.slow

CONTRACT = read_contract(PROJECT)
ROWS = 300
REQUESTS = 20_000
SEED = 13
KEY = "a-key"
HOOKS = "tests.schemathesis_hooks"
ANSWERS = "answers"  # the file that they write
EXAMPLES = 300  # of schemathesis' chance, beside what it works out, for each endpoint
# What only somebody inside should see.
INSIDES = (
    "Traceback",
    "site-packages",
    ".py",
    "pydantic",
    "onnx",
    "sqlite",
    str(Path.home()),
    "/src/",
    "0x7f",
)


@pytest.fixture(scope="module")
def service(boosted: Packed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(boosted, tmp_path_factory.mktemp("hostile"), api_keys=KEY) as service:
        yield service


def test_mutated_requests_are_answered_or_refused_by_the_name_of_what_is_wrong(
    boosted: Packed, tmp_path: Path
) -> None:
    rows = [as_sent(row, CONTRACT) for row in small_rows().sample(ROWS, random_state=SEED).to_dict("records")]
    sent = list(mutants(rows, CONTRACT, REQUESTS, SEED))

    with serving(boosted, tmp_path) as service:
        replies = send_all(service.port, [mutant.request for mutant in sent])
        kept = logged_ids(service)

    complaints = [
        f"{mutant.what[:200]}: {said}"
        for mutant, reply in zip(sent, replies, strict=True)
        if (said := complaint(mutant, reply))
    ]
    assert not complaints, f"{len(complaints)} of {len(sent)}\n" + "\n".join(complaints[:20])
    answered = [id_ for reply in replies if reply.status == 200 for id_ in answered_ids(reply)]
    assert Counter(kept) == Counter(answered)
    assert len(answered) > REQUESTS / 10  # or it could simply have refused
    assert "Traceback" not in service.output.read_text()


def test_the_openapi_document_is_kept_to_in_all_that_schemathesis_thinks_of(
    service: Service, tmp_path: Path
) -> None:
    before = Counter(logged_ids(service))

    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "--no-color", "run"),
            f"http://127.0.0.1:{service.port}/docs.json",
            f"--header=Authorization: Bearer {KEY}",
            # Of the checks none is left out. One phase has nothing to do: no answer links to a next request.
            *("--checks=all", "--mode=all", "--phases=examples,coverage,fuzzing", "--continue-on-failure"),
            *(f"--max-examples={EXAMPLES}", f"--seed={SEED}", "--generation-database=none", "--no-shrink"),
        ],
        cwd=tmp_path,  # it leaves folders behind
        env=os.environ | {"SCHEMATHESIS_HOOKS": HOOKS, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-2_000:]
    answers = (tmp_path / ANSWERS).read_bytes().splitlines()
    answered = Counter(id_ for body in answers for id_ in answered_ids(Reply(200, {}, body)))
    assert answered and Counter(logged_ids(service)) - before == answered
    assert "Traceback" not in service.output.read_text()


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: -1",
        "Content-Length: 1_0",
        "Content-Length: 10\r\nContent-Length: 11",
        "Content-Length: 10\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked",  # and no chunks follow
        "Transfer-Encoding: gzip, chunked",
        "Content-Length: 5\0",
        " folded: header",
        "no colon",
    ],
)
def test_a_request_that_is_no_http_leaves_nothing_behind(head: str, service: Service) -> None:
    before = logged_ids(service)

    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        start = f"POST /predict HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        connection.sendall(f"{start}Content-Type: application/json\r\n{head}\r\n\r\n{{}}xxxxxxxx".encode())
        connection.shutdown(socket.SHUT_WR)
        said = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert not said or said.startswith(b"HTTP/1.1 4")
    assert logged_ids(service) == before
    assert service.post("/predict", example_row(CONTRACT), {"Authorization": f"Bearer {KEY}"})[0] == 200


def complaint(mutant: Mutant, reply: Reply) -> str | None:
    """What is wrong with an answer, if anything."""
    text = reply.body.decode()
    if reply.status not in mutant.statuses:
        return f"{reply.status} instead of {sorted(mutant.statuses)}: {text[:300]}"
    if reply.status == 200:
        return None
    if found := [inside for inside in INSIDES if inside in text]:
        return f"shows its insides ({found}): {text[:300]}"
    error = reply.content["error"]
    if not error["message"] or not error["code"]:
        return "is refused without a reason"
    named = {(each.get("row"), each["field"]) for each in error["problems"]}
    wrong = {(row, shortened(field)) for row, field in mutant.wrong}
    if reply.status == 422 and (not named or (wrong and named != wrong)):
        return f"names {sorted(map(str, named))}"
    if silent := [each["field"] for each in error["problems"] if not each.get("allowed")]:
        return f"does not say what is allowed of {silent}"
    return None


def shortened(field: str) -> str:
    return field if len(field) <= LONGEST_GIVEN else field[: LONGEST_GIVEN - 3] + "..."
