"""From a released model to a Bento that answers: what whoever deploys goes through."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import package
from takeoff import files, model, packaging, paths
from takeoff.contract import read_contract
from takeoff.errors import TakeoffError
from takeoff.registry import Registry
from tests.small_package import Packed, packing, prepare
from tests.small_release import PROJECT

HEAVY = ("torch", "sklearn", "pandas", "mlflow", "dvc", "great_expectations", "evidently", "scipy", "pyarrow")
CONTRACT = read_contract(PROJECT)
CANDIDATE = "logistic"  # unlike the rule it looks at every column
START_SECONDS = 30


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project whose `reference` stage has run, ready to be packaged."""
    return prepare(tmp_path)


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
    with packing(tmp_path_factory.mktemp("packed"), CANDIDATE) as packed:
        yield packed


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
