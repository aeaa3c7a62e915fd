"""A real PostgreSQL server for tests, from Debian's package: started, stopped, stopped in its tracks."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psutil
import psycopg
import pytest

from takeoff.ports import unused_port

USER, PASSWORD, DATABASE = "takeoff", "se/cr@t:1", "log"
START_SECONDS = 60


class Server:
    """A server with one database on a free port of this machine. `folder` is its own and gets its data."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self._folder, self._binaries = folder, binaries
        self._numbers = count()
        # The server refuses to run as root.
        self._user = pwd.getpwnam("nobody") if os.getuid() == 0 else None
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        self.port = unused_port()
        (folder / "password").write_text(PASSWORD)
        self._run(
            "initdb",
            *("--username", USER, "--pwfile", str(folder / "password"), "--auth", "scram-sha-256"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
        )
        self.start()
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}")

    def address(self, database: str = DATABASE) -> str:
        """As an operator would write it, special characters and all."""
        password = PASSWORD.replace("/", "%2F").replace("@", "%40").replace(":", "%3A")
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def new_log(self) -> str:
        """The address of an empty schema: as good as an empty database, and made in no time."""
        name = f"log_{next(self._numbers)}"
        with psycopg.connect(self.address(), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{self.address()}?options=-c%20search_path%3D{name}"

    def new_database(self, name: str, options: str) -> str:
        """Another database on it; its address."""
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} {options}".encode())
        return self.address(name)

    def start(self) -> None:
        """Start, and wait until it answers."""
        # A server that dies keeps what it wrote as long as the machine lives: tests need no fsync.
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        log = str(self._folder / "log")
        self._run("pg_ctl", "start", "--wait", "-t", str(START_SECONDS), "-l", log, "-o", options)

    def stop(self, mode: str = "fast") -> None:
        """Stop: `fast` ends connections in good order, `immediate` is a crash."""
        self._run("pg_ctl", "stop", "--wait", "-t", str(START_SECONDS), "-m", mode)

    def is_running(self) -> bool:
        """Whether there is a server."""
        return (self._folder / "data" / "postmaster.pid").exists()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """All its processes stand still; the kernel still accepts connections for it."""
        main = psutil.Process(int((self._folder / "data" / "postmaster.pid").read_text().split()[0]))
        stopped = [main]
        main.send_signal(signal.SIGSTOP)  # first, so that it makes no more of them
        stopped += main.children(recursive=True)
        for process in stopped[1:]:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in reversed(stopped):
                process.send_signal(signal.SIGCONT)

    def _run(self, tool: str, *arguments: str) -> None:
        command = [str(self._binaries / tool), "-D", str(self._folder / "data"), *arguments]
        # Into a file: a pipe would stay open as long as the server, which inherits it.
        said = self._folder / "said"
        with said.open("w") as output:
            user, group = (self._user.pw_uid, self._user.pw_gid) if self._user else (None, None)
            done = subprocess.run(
                command, cwd=self._folder, stdout=output, stderr=output, user=user, group=group, check=False
            )
        assert done.returncode == 0, f"{tool}: {said.read_text()}"


@pytest.fixture(scope="session")
def started_postgres() -> Iterator[Server]:
    """The one server of all tests."""
    tools = binaries()
    if tools is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    # Not pytest's own folder, into which only its user may look.
    folder = Path(tempfile.mkdtemp(prefix="takeoff-postgres-"))
    try:
        server = Server(folder, tools)
        yield server
        server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(started_postgres: Server) -> Iterator[Server]:
    """A server that runs; a test may stop it."""
    yield started_postgres
    if not started_postgres.is_running():
        started_postgres.start()


def binaries() -> Path | None:
    """Where the newest server's tools are: not on PATH with Debian's package."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    tool = shutil.which("initdb")
    return Path(tool).parent if tool else None
