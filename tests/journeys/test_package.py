"""From a released model to a Bento that answers: what whoever deploys goes through."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest
import yaml

from pipelines import package, reference, train
from serving.requests import example_row
from takeoff import files, model, packaging, paths
from takeoff.contract import read_contract
from takeoff.errors import TakeoffError
from takeoff.features import features
from takeoff.registry import Registry
from tests.small_release import PROJECT, make_released, small_rows

HEAVY = ("torch", "sklearn", "pandas", "mlflow", "dvc", "great_expectations", "evidently", "scipy", "pyarrow")
CONTRACT = read_contract(PROJECT)
CANDIDATE = "logistic"  # unlike the rule it looks at every column
START_SECONDS = 30


class Packed(NamedTuple):
    """A project whose `package` stage has run."""

    folder: Path
    store: Path
    bento: Path
    report: dict[str, Any]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project whose `reference` stage has run, ready to be packaged."""
    return prepare(tmp_path)


def prepare(folder: Path, candidate: str = "rule") -> Path:
    make_released(folder, candidate)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        reference.main()
    return folder


def test_the_same_content_has_the_same_tag_in_another_folder(project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where"
    shutil.copytree(project, elsewhere, ignore=shutil.ignore_patterns(elsewhere.name))

    assert packaging.describe(CONTRACT, elsewhere).tag == packaging.describe(CONTRACT, project).tag


def test_any_change_to_what_goes_in_changes_the_tag(project: Path) -> None:
    before = packaging.describe(CONTRACT, project)
    inside = [source for source in before.sources.values() if source.is_relative_to(project)]

    tags = {before.tag}
    for source in inside:
        with source.open("ab") as file:
            file.write(b"\n")
        tags.add(packaging.describe(CONTRACT, project).tag)

    assert len(tags) == len(inside) + 1


def test_a_missing_file_is_named(project: Path) -> None:
    (project / paths.REFERENCE / "profile.json").unlink()

    with pytest.raises(TakeoffError, match=r"models/reference/profile\.json is missing"):
        packaging.describe(CONTRACT, project)


def test_a_model_of_another_contract_is_not_packed(project: Path) -> None:
    origin = CONTRACT.columns["origin"].model_copy(update={"values": ("EWR", "JFK")})
    edited = CONTRACT.model_copy(update={"columns": {**CONTRACT.columns, "origin": origin}})

    with pytest.raises(TakeoffError, match="trained under another contract"):
        packaging.describe(edited, project)


def test_a_bento_needs_exactly_the_versions_that_the_project_was_tested_with() -> None:
    pinned = dict(line.split("==") for line in packaging.read_requirements(PROJECT))

    assert pinned == {name: installed(name) for name in pinned}


def test_the_store_is_in_the_project_unless_the_person_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(packaging.STORE_VARIABLE, raising=False)
    inside = packaging.store_folder(tmp_path)
    monkeypatch.setenv(packaging.STORE_VARIABLE, str(tmp_path / "mine"))

    assert inside.parent == tmp_path
    assert packaging.store_folder(tmp_path) == tmp_path / "mine"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packed]:
    """A small project of which everything has really run: training, registration, reference, package."""
    folder = prepare(tmp_path_factory.mktemp("packed"), CANDIDATE)
    store = folder / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("MLFLOW_TRACKING_URI", "PYTHONDONTWRITEBYTECODE"):
            patch.delenv(name, raising=False)
        patch.setenv(packaging.STORE_VARIABLE, str(store))
        patch.setattr(sys, "argv", ["train", CANDIDATE])
        train.main()
        card = files.read_json(paths.RELEASED / model.CARD_FILE)
        Registry(CONTRACT.name).register(card)
        package.main()
        report = files.read_json(paths.PACKAGE_REPORT)
        yield Packed(folder, store, packaging.bento_folder(store, report["bento"]), report)


def bento_yaml(packed: Packed) -> dict[str, Any]:
    return dict(yaml.safe_load((packed.bento / "bento.yaml").read_text()))


@pytest.mark.slow
def test_bento_and_model_version_name_each_other(packed: Packed) -> None:
    version = Registry(CONTRACT.name).version_of(files.read_json(paths.RELEASED / model.CARD_FILE))

    assert version is not None
    assert version.bento == packed.report["bento"]
    assert bento_yaml(packed)["labels"]["model_version"] == version.number


@pytest.mark.slow
def test_packaging_again_builds_nothing(packed: Packed, capsys: pytest.CaptureFixture[str]) -> None:
    before = packed.bento.stat().st_ino, paths.PACKAGE_REPORT.read_bytes()

    package.main()

    assert (packed.bento.stat().st_ino, paths.PACKAGE_REPORT.read_bytes()) == before
    assert "Already in the store" in capsys.readouterr().out


@pytest.mark.slow
def test_a_store_that_lost_the_bento_gets_the_same_one_again(packed: Packed) -> None:
    report = paths.PACKAGE_REPORT.read_bytes()
    shutil.rmtree(packed.store)

    package.main()

    assert bento_yaml(packed)["version"] == packed.bento.name
    assert paths.PACKAGE_REPORT.read_bytes() == report


@pytest.mark.slow
def test_a_bento_whose_model_got_another_version_is_labelled_anew_under_the_same_tag(packed: Packed) -> None:
    bento = packaging.describe(CONTRACT, packed.folder)
    labels = bento_yaml(packed)["labels"]

    assert packaging.ensure_built(bento, labels | {"model_version": "99"}, packed.folder)
    assert bento_yaml(packed)["labels"]["model_version"] == "99"
    assert packaging.ensure_built(bento, labels, packed.folder)


@pytest.mark.slow
def test_a_service_that_cannot_be_imported_is_not_packed_and_the_earlier_bento_stays(packed: Packed) -> None:
    service = packed.folder / "serving" / "service.py"
    text = service.read_text()
    service.write_text(text + "import pandas_is_not_in_here\n")
    try:
        with pytest.raises(TakeoffError, match="pandas_is_not_in_here"):
            package.main()
    finally:
        service.write_text(text)

    assert [path.name for path in sorted(packed.bento.parent.iterdir())] == [packed.bento.name, "latest"]
    assert not list(packed.store.glob(".building-*"))


@pytest.mark.slow
def test_nothing_in_a_bento_names_the_machine_it_was_built_on(packed: Packed) -> None:
    names = [str(packed.folder), str(PROJECT), str(Path.home()) + "/"]

    content = {path: path.read_bytes() for path in packed.bento.rglob("*") if path.is_file()}

    assert not [path for path, text in content.items() if any(name.encode() in text for name in names)]
    assert not [path for path in content if path.suffix == ".pyc"]


@pytest.mark.slow
def test_the_packed_service_loads_its_own_files_and_none_of_the_heavy_libraries(packed: Packed) -> None:
    script = (
        "import json, sys, bentoml, takeoff\n"
        "service = bentoml.load(sys.argv[1]); service()\n"
        "print(json.dumps({'modules': list(sys.modules), 'files': [m.__file__ for n, m in sys.modules.items()"
        " if n.split('.')[0] in ('takeoff', 'serving')]}))"
    )

    loaded = json.loads(run_python(["-c", script, str(packed.bento)], packed).splitlines()[-1])

    assert not set(HEAVY) & {name.split(".")[0] for name in loaded["modules"]}
    assert all(Path(file).is_relative_to(packed.bento) for file in loaded["files"])


def run_python(arguments: list[str], packed: Packed) -> str:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=packed.bento / "src",
        env=service_environment(packed),
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def service_environment(packed: Packed) -> dict[str, str]:
    return os.environ | {
        packaging.STORE_VARIABLE: str(packed.store),
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOST": "127.0.0.1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture(scope="module")
def address(packed: Packed) -> Iterator[str]:
    """Where `bentoml serve` answers from the packed Bento."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = packed.folder / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "bentoml", "serve", packed.report["bento"], f"--port={port}"],
            cwd=packed.store,
            env=service_environment(packed),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its own session: nobody else's processes


def wait_until_ready(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(f"{address}/readyz", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"the service did not start:\n{log.read_text()}")


def post(address: str, body: str) -> tuple[int, Any]:
    request = Request(f"{address}/predict", body.encode(), {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def as_sent(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a frame as a caller would write it: null where missing."""
    return {
        name: None if pd.isna(row[name]) else float(row[name]) if column.is_number else row[name]
        for name, column in CONTRACT.columns.items()
    }


@pytest.mark.slow
def test_a_served_probability_is_the_offline_one_to_the_bit(packed: Packed, address: str) -> None:
    rows = small_rows().sample(100, random_state=1)
    assert rows[list(CONTRACT.columns)].isna().any(axis=None)
    session = model.load(packed.folder / paths.RELEASED).session
    asked = features(rows, CONTRACT)
    # Row by row: the last bit of a matrix product depends on how many rows are multiplied at once.
    offline = np.concatenate([model.predict(session, asked.iloc[[i]]) for i in range(len(asked))])

    answers = [post(address, json.dumps(as_sent(row)))[1] for row in rows.to_dict("records")]

    served = [[answer["probabilities"][name] for name in CONTRACT.target.classes] for answer in answers]
    np.testing.assert_array_equal(np.array(served, dtype="float32"), offline)
    assert len(np.unique(offline[:, -1])) > 50  # or equal answers would prove little


@pytest.mark.slow
def test_an_answer_decides_by_the_released_threshold_and_names_its_model(
    packed: Packed, address: str
) -> None:
    card = files.read_json(packed.folder / paths.RELEASED / model.CARD_FILE)

    answers = [
        post(address, json.dumps(as_sent(row)))[1]
        for row in small_rows().sample(50, random_state=2).to_dict("records")
    ]

    event = CONTRACT.target.classes[-1]
    decided = [answer["decision"] == event for answer in answers]
    assert decided == [answer["probabilities"][event] >= card["decision"]["threshold"] for answer in answers]
    assert len(set(decided)) == 2
    assert {answer["onnx_sha256"] for answer in answers} == {card["onnx_sha256"]}
    assert {answer["model_version"] for answer in answers} == {bento_yaml(packed)["labels"]["model_version"]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planted", "named", "allowed"),
    [
        ({"origin": "LAX"}, "origin", "EWR"),
        ({"weekday": 9}, "weekday", "7"),
        ({"distance": None}, "distance", "number"),
        ({"distance": 1e30}, "distance", "10000"),
        ({"colour": "red"}, "colour", "not permitted"),
    ],
)
def test_a_bad_row_is_refused_with_its_field_and_what_is_allowed_and_nothing_else(
    planted: dict[str, Any], named: str, allowed: str, address: str
) -> None:
    status, answer = post(address, json.dumps(example_row(CONTRACT) | planted))

    assert 400 <= status < 500
    (problem,) = answer["detail"]
    assert problem["loc"] == [named] and allowed in problem["msg"]
    assert "Traceback" not in json.dumps(answer) and str(Path.home()) not in json.dumps(answer)


@pytest.mark.slow
def test_a_number_that_json_can_write_but_no_float_can_hold_is_refused(address: str) -> None:
    body = json.dumps(example_row(CONTRACT) | {"distance": "HERE"}).replace('"HERE"', "1e999")

    status, answer = post(address, body)

    assert (status, answer["detail"][0]["loc"]) == (400, ["distance"])


@pytest.mark.slow
def test_the_example_in_the_openapi_document_is_answered(address: str) -> None:
    with urlopen(f"{address}/docs.json", timeout=10) as document:
        path = json.load(document)["paths"]["/predict"]["post"]
    schema = path["requestBody"]["content"]["application/json"]["schema"]

    status, _ = post(address, json.dumps(schema["example"]))

    assert status == 200
    assert schema["example"] == example_row(CONTRACT)
