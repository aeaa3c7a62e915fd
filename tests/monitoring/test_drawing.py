"""The process that draws: however much it is given and however it fails, the monitor goes on."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from monitoring import drawing
from monitoring.drawing import Drawer
from takeoff import files

WINDOWS = 700  # whose jobs are more than a pipe holds, as are the answers to a tenth of them
PATIENCE_SECONDS = 120
PAGE = Path("nowhere") / "window.html"
ROWS = pd.DataFrame({"a": [1.0]})
END = pd.Timestamp("2013-09-02", tz="UTC")
# Stand-ins that read jobs and answer as the real process does, but draw nothing.
TALKS_MUCH = """
import json, sys
for line in sys.stdin:
    print(json.dumps({"name": json.loads(line)["name"], "problem": "no " * 2000}), flush=True)
"""
STOPS_ANSWERING = """
import json, sys, time
print(json.dumps({"name": json.loads(sys.stdin.readline())["name"], "problem": None}), flush=True)
time.sleep(3600)
"""
WRITES_A_PAGE = """
import json, pathlib, sys
for line in sys.stdin:
    job = json.loads(line)
    pathlib.Path(job["page"]).write_text("new")
    print(json.dumps({"name": job["name"], "problem": None}), flush=True)
"""
ENDS_IN_THE_MIDDLE = """
import json, sys
print(json.dumps({"name": json.loads(sys.stdin.readline())["name"], "problem": None}), flush=True)
sys.stdout.write('{"name": "2')
"""


def drawn(windows: int) -> list[str]:
    """What the drawer says of so many windows; fails where it never comes to an end."""
    found: list[str] = []

    def draw() -> None:
        with Drawer() as drawer:
            for number in range(windows):
                drawer.draw(f"{number}", END, ROWS, 0.5, PAGE)
            found.extend(drawer.finish())

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive(), "it waits for ever"
    return found


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts another program in the place of the one that draws."""
    return lambda code: monkeypatch.setattr(drawing, "COMMAND", (sys.executable, "-c", code))


def test_more_windows_than_pipes_hold_are_all_drawn(process: Callable[[str], None]) -> None:
    process(TALKS_MUCH)

    said = drawn(WINDOWS)

    assert [each.split(":")[0] for each in said] == [f"No Evidently report of {i}" for i in range(WINDOWS)]


def test_one_that_answers_no_more_is_ended_and_named(
    process: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "PATIENCE_SECONDS", 0.5)
    process(STOPS_ANSWERING)

    said = drawn(WINDOWS)

    assert len(said) == WINDOWS - 1  # the first was drawn
    assert all("did not answer" in each for each in said)


def test_one_that_ended_in_the_middle_of_an_answer_is_named(process: Callable[[str], None]) -> None:
    process(ENDS_IN_THE_MIDDLE)

    assert drawn(3) == [f"No Evidently report of {i}: {drawing.ENDED}" for i in (1, 2)]


def test_a_page_takes_its_place_only_when_its_owner_puts_it_there(
    process: Callable[[str], None], tmp_path: Path
) -> None:
    process(WRITES_A_PAGE)
    pages = [tmp_path / "published.html", tmp_path / "given up.html"]
    pages[1].write_text("old")

    with Drawer() as drawer:
        for page in pages:
            drawer.draw(page.stem, END, ROWS, 0.5, page)
        assert drawer.finish() == []
        assert drawer.pages() == pages
        files.replace_together({}, pages[:1])

    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {
        "published.html": "new",
        "given up.html": "old",
    }


def test_an_error_meanwhile_ends_the_process_at_once(process: Callable[[str], None]) -> None:
    process("import time; time.sleep(3600)")

    with pytest.raises(ZeroDivisionError), Drawer() as drawer:
        for number in range(WINDOWS):
            drawer.draw(f"{number}", END, ROWS, 0.5, PAGE)
        raise ZeroDivisionError


def test_one_that_was_started_for_nothing_is_not_waited_for(process: Callable[[str], None]) -> None:
    process("import time; time.sleep(3600)")

    with Drawer() as drawer:
        drawer.start()
        assert drawer.finish() == []
