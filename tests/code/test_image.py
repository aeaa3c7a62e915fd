"""What container.py does before it calls an engine; tests/journeys/test_container.py does the rest."""

import stat
from pathlib import Path

import pytest

from serving.deploy import container
from takeoff.errors import TakeoffError


def test_an_older_bento_keeps_its_own_versions_and_gets_the_rest_from_the_lock() -> None:
    locked = "# made by make lock\nbentoml==2.0\nPyYAML==6.0\nruamel.yaml==0.1\n"

    assert container.constraints(locked, "bentoml==1.4\npyyaml==5.0\n") == "ruamel.yaml==0.1\n"


def test_the_build_asks_the_package_index_that_pip_asks_here() -> None:
    listed = (
        ":env:.index-url='https://mirror.example/simple'\n"
        "global.extra-index-url='\\nhttps://one.example\\nfile:///folder'\n"
        "global.find-links='/wheels'\n"
        "global.index-url='https://other.example/simple'\n"
    )

    assert container.pip_config(listed) == (
        "[global]\nextra-index-url = https://one.example\nindex-url = https://mirror.example/simple\n"
    )


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An otherwise empty PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def install(folder: Path, engine: str, script: str) -> None:
    program = folder / engine
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_without_an_engine_a_person_is_told_what_to_install(bin_folder: Path) -> None:
    with pytest.raises(
        TakeoffError, match=r"podman is not installed\. docker is not installed\.\n.*apt install"
    ):
        container.find_engine()


def test_an_engine_that_does_not_work_is_passed_over(bin_folder: Path) -> None:
    install(bin_folder, "podman", "echo 'cannot set up namespaces' >&2; exit 125")
    install(bin_folder, "docker", "exit 0")

    assert container.find_engine() == ["docker"]


def test_an_engine_that_was_asked_for_is_the_only_one_tried(bin_folder: Path) -> None:
    install(bin_folder, "podman", "exit 0")
    install(bin_folder, "docker", "echo 'Is the docker daemon running?' >&2; exit 1")

    assert container.find_engine("podman --runtime runc") == ["podman", "--runtime", "runc"]
    with pytest.raises(TakeoffError, match="docker does not work: Is the docker daemon running"):
        container.find_engine("docker")


@pytest.mark.parametrize("tag", ["", "name", "name:", ":version"])
def test_what_is_no_tag_is_refused(tag: str) -> None:
    with pytest.raises(TakeoffError, match="NAME:VERSION"):
        container.version_of(tag)
