"""Work in a copy of the process: done beside, done here where the copy fails, gone with its block."""

import os
import signal
from collections.abc import Callable

import psutil
import pytest

from monitoring.forked import forked


def as_bytes(number: int) -> bytes:
    return str(number).encode()


def test_work_is_done_by_another_process_that_has_what_this_one_has() -> None:
    here = {"changed": False}

    def work() -> bytes:
        here["changed"] = True
        return as_bytes(os.getpid())

    with forked(work) as result:
        done_by = int(result())

    assert done_by != os.getpid()
    assert not here["changed"]
    assert not psutil.pid_exists(done_by)


def test_more_than_a_pipe_holds_comes_back_whole() -> None:
    content = os.urandom(5_000_000)

    with forked(lambda: content) as result:
        assert result() == content


@pytest.mark.parametrize("end", [lambda: os._exit(1), lambda: os.kill(os.getpid(), signal.SIGKILL)])
def test_what_a_copy_does_not_bring_to_an_end_is_done_here(end: Callable[[], None]) -> None:
    here = os.getpid()

    def work() -> bytes:
        if os.getpid() != here:
            end()
        return as_bytes(os.getpid())

    with forked(work) as result:
        assert int(result()) == here


def test_a_mistake_in_the_work_is_raised_where_its_result_is_wanted(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def work() -> bytes:
        raise ZeroDivisionError("as planned")

    with pytest.raises(ZeroDivisionError, match="as planned"), forked(work) as result:
        result()


def test_a_copy_whose_result_nobody_waits_for_is_ended() -> None:
    reading, writing = os.pipe()

    def work() -> bytes:
        os.write(writing, as_bytes(os.getpid()))
        signal.pause()
        return b""

    with pytest.raises(KeyError), forked(work):
        pid = int(os.read(reading, 20))
        raise KeyError

    assert not psutil.pid_exists(pid)
