"""The page as HTML: it says what the JSON says, and what is missing."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring import page, page_charts
from monitoring.drift import MEASURES
from monitoring.page_charts import LABEL_GAP, Label, Series
from monitoring.page_input import Calibration, Estimate, read_reports
from monitoring.page_lines import METRICS, RECENT
from monitoring.page_words import REASONS, WORDS, word_of
from takeoff import paths
from takeoff.contract import Contract
from takeoff.params import Params
from tests.conftest import PROJECT
from tests.monitoring import reports
from tests.monitoring.results import column

TITLE = "a model"
WEEKS = 6
CSS = (PROJECT / "monitoring" / "templates" / "page.css").read_text(encoding="utf-8")

shares = st.floats(0, 1).map(lambda value: round(value, 6))  # as the monitor rounds them
values = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 6))


class Read(HTMLParser):
    """Ids, addresses, texts, and the values of each cell of the tables behind the charts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.cells: dict[tuple[str, str, str], list[float]] = {}
        self.values: list[float] = []
        self.text = ""
        self._chart = self._window = self._series = ""
        self.feed(text)

    def handle_starttag(self, tag: str, given: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in given}
        self.tags.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found[name] for name in ("href", "src") if name in found]
        if tag == "table":
            self._chart = found.get("data-chart", found.get("data-table", ""))
        if tag == "tr":
            self._window, self._series = found.get("data-column", ""), ""
        if tag == "a" and self._chart:
            self._window = found["href"].removeprefix("#")
        self._series = found.get("data-series", "") if tag == "td" else self._series
        if tag == "data":
            self.values.append(float(found["value"]))
            if self._chart:
                self.cells.setdefault((self._chart, self._window, self._series), []).append(self.values[-1])

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self._chart = ""

    def handle_data(self, data: str) -> None:
        self.text += data


class Left(NamedTuple):
    """What the monitor left, and the page of it."""

    results: list[dict[str, Any]]
    decision: dict[str, Any]
    read: Read


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory, contract: Contract, params: Params) -> Left:
    folder = tmp_path_factory.mktemp("reports")
    results = reports.weeks(WEEKS, contract)
    return Left(results, reports.leave(folder, results, params, TITLE), _read(folder))


def _read(folder: Path) -> Read:
    return Read((folder / paths.MONITORING_PAGE.name).read_text(encoding="utf-8"))


def _triple(found: dict[str, float]) -> list[float]:
    return [found["value"], found["low"], found["high"]]


# What it says


def test_the_decision_stands_on_top_as_a_word_and_a_sentence(left: Left) -> None:
    said = left.decision["sentence"].partition(": ")[2]

    assert page.STATES[left.decision["state"]] in left.read.text
    assert said[1:] in left.read.text


def test_every_value_of_a_time_line_is_that_of_the_json(left: Left) -> None:
    for result in left.results[:-1]:
        name, money = result["window"]["name"], result["performance"]["money"]
        assert left.read.cells["money", name, "live"] == _triple(money["model"])
        assert left.read.cells["money", name, "plain rule"] == [money["rule"]["value"]]
        live = result["performance"]["metrics"]["roc_auc"]
        assert left.read.cells["metric-roc_5f_auc", name, "live"] == _triple(live)
        assert left.read.cells["labels", name, "labelled"] == [result["labels"]["share"]]
        psi = next(each["psi"] for each in result["drift"]["columns"] if each["column"] == "pressure")
        assert left.read.cells["column-pressure", name, "PSI"] == [psi]


def test_the_calibration_of_the_newest_windows_with_labels_is_drawn_as_the_json_has_it(left: Left) -> None:
    known = [each for each in left.results if each["performance"]][-RECENT:]

    drawn = [each for each in left.read.ids if re.fullmatch(r"calibration-[\w-]+(?<!-title)(?<!-desc)", each)]
    assert drawn == [f"calibration-{each['window']['name']}" for each in reversed(known)]
    for chart, result in zip(drawn, reversed(known), strict=True):
        curve = result["performance"]["calibration"]
        assert left.read.cells[chart, "", "seen"] == [group["observed"] for group in curve]
        assert left.read.cells[chart, "", "expected"] == [group["predicted"] for group in curve]
        assert all(f"{group['rows']} rows" in left.read.text for group in curve)


def test_every_measure_of_a_column_stands_beside_what_noise_alone_reaches(left: Left) -> None:
    for found in left.results[-1]["drift"]["columns"]:
        assert left.read.cells["columns", found["column"], ""] == [
            found["importance"],
            *(found[f"psi{each}"] for each in ("", "_floor")),
            *(found[f"distance{each}"] for each in ("", "_floor")),
            *(found[f"missing{each}"] for each in ("", "_floor", "_reference")),
            *(found[f"unseen{each}"] for each in ("", "_floor")),
        ]


def test_a_window_without_labels_shows_the_estimate_with_its_interval(left: Left) -> None:
    last = left.results[-1]
    name = last["window"]["name"]

    assert ("money", name, "live") not in left.read.cells
    assert left.read.cells["money", name, "estimated"] == _triple(last["estimated"]["metrics"]["cost"])
    assert "estimated: too few labels yet" in left.read.text


def test_every_reason_stands_there_with_measured_and_required(left: Left) -> None:
    assert left.decision["reasons"]
    for reason in left.decision["reasons"]:
        assert reason["text"] in left.read.text
        assert {reason["measured"], reason["required"]} <= set(left.read.values)


def test_every_link_within_the_page_has_a_place_to_go_to(left: Left) -> None:
    within = {link[1:] for link in left.read.links if link.startswith("#")}

    assert within <= set(left.read.ids)
    assert {each["window"]["name"] for each in left.results} <= within


def test_every_chart_leads_to_words_that_are_there(left: Left) -> None:
    linked = {each for each in left.read.links if each.startswith("#word-")}

    assert linked <= {f"#word-{name}" for name in WORDS} <= {f"#{each}" for each in left.read.ids}
    assert left.read.text.count(" · meaning") == left.read.tags.count("figure")


@pytest.mark.parametrize("what", [*METRICS, *MEASURES, *REASONS, "estimated cost", "calibration error"])
def test_what_a_reason_measured_has_words(what: str) -> None:
    assert word_of(what) in WORDS


def test_no_id_stands_twice(left: Left) -> None:
    assert len(set(left.read.ids)) == len(left.read.ids)


def test_nothing_comes_from_elsewhere(left: Left) -> None:
    outside = [link for link in left.read.links if not link.startswith(("#", "windows/", "data:,"))]

    assert outside == []
    assert not re.search(r"url\(|@import|<script", CSS)
    assert "script" not in left.read.tags


def test_a_change_of_champion_is_marked(left: Left) -> None:
    assert "version 2" in left.read.text


def test_an_evidently_report_is_linked_only_where_there_is_one(
    tmp_path: Path, contract: Contract, params: Params
) -> None:
    results = reports.weeks(2, contract)
    windows = tmp_path / paths.WINDOWS.name
    windows.mkdir()
    drawn = results[0]["window"]["name"]
    (windows / f"{drawn}.html").write_text("drawn", encoding="utf-8")

    reports.leave(tmp_path, results, params, TITLE)

    assert [link for link in _read(tmp_path).links if link.endswith(".html")] == [f"windows/{drawn}.html"]


# What is missing


def test_nothing_measured_is_said_to_be_so(tmp_path: Path, params: Params) -> None:
    reports.leave(tmp_path, [], params, TITLE)

    assert "No windows yet" in _read(tmp_path).text


def test_a_folder_without_a_decision_gets_a_page_that_says_so(tmp_path: Path) -> None:
    page.write(TITLE, tmp_path)

    assert "No decision yet" in _read(tmp_path).text


@pytest.mark.parametrize(
    "part",
    ["drift", "multivariate", "labels", "performance", "estimated", "quality", "shadow", "reference"],
)
def test_a_page_is_made_without_any_one_part(
    part: str, tmp_path: Path, contract: Contract, params: Params
) -> None:
    results = reports.weeks(3, contract)
    decided = reports.leave(tmp_path, results, params, TITLE)
    for each in results:
        file = tmp_path / paths.WINDOWS.name / f"{each['window']['name']}.json"
        file.write_text(json.dumps({**each, part: None}), encoding="utf-8")

    page.write(TITLE, tmp_path)

    assert decided["windows"][0]["name"] in _read(tmp_path).ids


def test_a_window_that_has_no_labels_says_so(tmp_path: Path, contract: Contract, params: Params) -> None:
    reports.leave(tmp_path, reports.weeks(1, contract, labels=None), params, TITLE)

    assert "no labels yet" in _read(tmp_path).text


@pytest.mark.parametrize("content", ["", '{"window"', "[]", '{"window": {"name": "2013-W02"}}', "\0"])
def test_a_file_that_cannot_be_read_is_named_and_passed_over(
    content: str, tmp_path: Path, contract: Contract, params: Params
) -> None:
    results = reports.weeks(2, contract)
    reports.leave(tmp_path, results, params, TITLE)
    (tmp_path / paths.WINDOWS.name / "2013-W02.json").write_text(content, encoding="utf-8")

    page.write(TITLE, tmp_path)

    read = _read(tmp_path)
    assert "2013-W02.json is not shown" in read.text
    assert results[0]["window"]["name"] in read.ids


def test_what_a_column_is_called_cannot_become_html(
    tmp_path: Path, contract: Contract, params: Params
) -> None:
    hostile = "<script>alert(1)</script>\"'><img src=x>"
    drift = {"columns": [column(hostile, severity="severe", effect=9.0)], "predictions": []}

    reports.leave(tmp_path, reports.weeks(2, contract, drift=drift, notes=[hostile]), params, hostile)

    read = _read(tmp_path)
    assert not {"script", "img"} & set(read.tags)
    assert hostile in read.text


def test_columns_with_names_that_look_alike_have_charts_of_their_own(
    tmp_path: Path, contract: Contract, params: Params
) -> None:
    names = ["a b", "a-b", "a_b", "ab"]
    drift = {"columns": [column(name) for name in names], "predictions": []}

    reports.leave(tmp_path, reports.weeks(2, contract, drift=drift), params, TITLE)

    ids = _read(tmp_path).ids
    assert len([each for each in ids if re.fullmatch(r"column-.*(?<!-title)(?<!-desc)", each)]) == len(names)
    assert len(set(ids)) == len(ids)


def test_a_hundred_windows_have_a_row_each(tmp_path: Path, contract: Contract, params: Params) -> None:
    results = reports.weeks(100, contract)

    reports.leave(tmp_path, results, params, TITLE)

    assert {each["window"]["name"] for each in results} <= set(_read(tmp_path).ids)


# Charts


@given(st.lists(values, min_size=1, max_size=12), st.sampled_from(["number", "share"]))
def test_every_point_is_within_the_box_and_every_tick_reads_differently(
    given_values: list[float], unit: page_charts.Unit
) -> None:
    series = Series("live", "live", tuple(given_values))

    ticks, low, high = page_charts._scale(page_charts._extent([series], ()), unit)

    rounding = 1e-8 * (high - low)
    assert low - rounding <= min(given_values) and max(given_values) <= high + rounding
    texts = [page_charts._short(tick, unit, ticks) for tick in ticks]
    assert 2 <= len(texts) == len(set(texts)) <= 8


@given(st.lists(st.floats(0, 100), min_size=1, max_size=5))
def test_labels_of_lines_never_cover_each_other_nor_leave_the_box(places: list[float]) -> None:
    found = page_charts._apart([Label(str(i), place) for i, place in enumerate(places)])

    at = sorted(each.at for each in found)
    assert at[0] >= 0 and at[-1] <= 100
    assert all(after - before >= LABEL_GAP - 0.02 for before, after in pairwise(at))


def test_a_gap_in_the_values_is_a_gap_in_the_line(tmp_path: Path, contract: Contract, params: Params) -> None:
    reports.leave(tmp_path, reports.weeks(5, contract), params, TITLE)
    results = read_reports(tmp_path).results
    estimates = [Estimate(value=each, low=each - 1, high=each + 1) for each in (1.0, 2.0, 3.0, 4.0)]
    gap = Series("live", "live", (*estimates[:2], None, *estimates[2:]))

    chart = page_charts.chart("a", "a", "a", "number", results, [gap])

    assert chart is not None
    assert chart.lines[0].path.count("M") == 2
    assert chart.lines[0].band.count("Z") == 2


@given(st.lists(st.tuples(shares, shares, st.integers(1, 9)), min_size=1, max_size=12))
def test_a_calibration_curve_stays_within_its_box_and_goes_from_left_to_right(
    groups: list[tuple[float, float, int]],
) -> None:
    given_groups = [Calibration(predicted=x, observed=y, rows=rows) for x, y, rows in groups]

    found = page_charts.curve("a", "a", "a", given_groups, "psi")

    assert found is not None
    places = [float(x) for x in re.findall(r"M([\d.]+) [\d.]+h0", found.lines[0].dots)]
    assert places == sorted(places) and places[0] >= 0 and places[-1] <= 100
    assert sum(hit.width for hit in found.hits) == pytest.approx(100, abs=0.1)


# To be read by anyone


def _luminance(colour: str) -> float:
    colour = colour if len(colour) == 6 else "".join(each * 2 for each in colour)
    channels = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ink", ["text", "quiet", "bad", "warn", "good", "live", "rule", "noise"])
def test_every_colour_of_words_has_enough_contrast(ink: str, scheme: int) -> None:
    """WCAG 2.2, level AA: 4.5 to 1."""
    block = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--(\w+): #(\w+)", block))

    light, dark = sorted([_luminance(colours[ink]), _luminance(colours["page"])], reverse=True)

    assert (light + 0.05) / (dark + 0.05) >= 4.5
