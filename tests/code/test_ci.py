"""How the machine of CI gets what the tests need: as root, as a user who may become root, or not at all."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "dirname", "env")  # what the script calls before anything is installed
MISSING = ("git", "make", "python3.11", "chromium", "prometheus")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A PATH with nothing that the project needs; `asked` beside it gets what apt-get is told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool) or tool)
    script(folder / "apt-get", f'echo "$DEBIAN_FRONTEND apt-get $*" >>"{tmp_path}/asked"')
    return folder


def script(file: Path, text: str) -> None:
    file.write_text(f"#!/bin/bash\n{text}\n")
    file.chmod(0o755)


def installed(machine: Path, user: int) -> subprocess.CompletedProcess[str]:
    script(machine / "id", f"echo {user}")
    return subprocess.run(
        ["bash", "-c", 'source "$1" && install_packages', "bash", ROOT / ".ci" / "run"],
        env=os.environ | {"PATH": str(machine)},
        capture_output=True,
        text=True,
        check=False,
    )


def asked(machine: Path) -> list[str]:
    file = machine.parent / "asked"
    return file.read_text().splitlines() if file.exists() else []


def test_root_installs_what_is_missing_without_a_progress_bar(machine: Path) -> None:
    done = installed(machine, 0)

    assert done.returncode == 0, done.stderr
    update, install = asked(machine)
    assert update.endswith("apt-get update -qq")
    assert install.startswith("noninteractive apt-get install") and "Dpkg::Use-Pty=0" in install
    assert set(MISSING) <= set(install.split())


def test_a_user_who_may_become_root_without_a_password_installs_through_sudo(machine: Path) -> None:
    script(machine / "sudo", '[ "$1" = -n ] && shift && AS_ROOT=1 "$@"')
    script(machine / "apt-get", f'echo "$AS_ROOT $*" >>"{machine.parent}/asked"')

    done = installed(machine, 1001)

    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in asked(machine)] == [["1", "update"], ["1", "install"]]


def test_anybody_else_is_told_what_is_missing(machine: Path) -> None:
    script(machine / "sudo", "echo 'a password is required' >&2; exit 1")

    done = installed(machine, 1001)

    assert done.returncode == 1
    assert asked(machine) == []
    assert "only root can install it" in done.stderr
    assert all(each in done.stderr for each in MISSING)


@pytest.mark.parametrize("browser", ["chromium", "chromium-browser", "google-chrome"])
def test_what_is_there_is_not_installed_whatever_the_browser_is_called(browser: str, machine: Path) -> None:
    for tool in ("git", "make", "python3.11", "podman", "promtool", "prometheus", browser):
        script(machine / tool, "exit 0")

    installed(machine, 0)

    assert not {"git", "make", "python3.11-venv", "podman", "runc", "prometheus", "chromium"} & {
        word for line in asked(machine) for word in line.split()
    }


def test_a_browser_that_only_says_how_to_get_one_is_none(machine: Path) -> None:
    script(machine / "chromium-browser", "echo 'snap install chromium'; exit 1")

    installed(machine, 0)

    assert "chromium" in asked(machine)[-1].split()
