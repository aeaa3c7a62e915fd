"""Whoever is on call opens the page in a real browser: phone or desk, day or night, mouse or keyboard."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from monitoring import monitor
from monitoring.page_charts import number
from monitoring.webhook import VARIABLE
from monitoring.windows import window_of
from takeoff import files, model, paths
from takeoff.contract import Contract
from takeoff.features import features
from takeoff.log_schema import INVALID_ROWS
from takeoff.log_store import HOUR_SECONDS, Refused, open_store
from takeoff.params import Params
from takeoff.ports import unused_port
from takeoff.training import Trained
from tests.monitoring import page_numbers, reports
from tests.monitoring.production import add_promise_and_challenger, fill, make_watched

pytestmark = pytest.mark.slow  # a browser, and Evidently

WEEKS = 12
DAYS = [f"2013-01-{day:02}" for day in range(7, 11)]
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1200, "height": 900}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TABS = 400  # more than the page has places to stop at


class Site(NamedTuple):
    """The folder that the monitor left, and what it holds."""

    folder: Path
    results: list[dict[str, Any]]
    decision: dict[str, Any]

    @property
    def address(self) -> str:
        return (self.folder / paths.MONITORING_PAGE.name).as_uri()


class Seen(NamedTuple):
    """What a browser complained about, and what it asked for beyond this machine's files."""

    complaints: list[str]
    requests: list[str]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    program = next(filter(_runs, BROWSERS), None)
    if program is None:
        pytest.skip("no Chromium on this machine: install Debian's package `chromium`")
    with sync_playwright() as play:
        # No sandbox: containers, and so CI, have no right to make one.
        started = play.chromium.launch(executable_path=shutil.which(program), args=["--no-sandbox"])
        yield started
        started.close()


def _runs(program: str) -> bool:
    """Whether there is such a browser: Ubuntu's `chromium-browser` may only say how to get one."""
    found = shutil.which(program)
    return found is not None and subprocess.run([found, "--version"], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def site(
    split_rows: Callable[[str], pd.DataFrame],
    trained: Callable[[str], Trained],
    contract: Contract,
    params: Params,
    tmp_path_factory: pytest.TempPathFactory,
) -> Site:
    """Twelve weeks, the first two of them with a real report of Evidently's."""
    from monitoring.evidently_report import draw

    folder = tmp_path_factory.mktemp("a site")
    results = reports.weeks(WEEKS, contract)
    session = model.session_of(trained("boosted").onnx)
    names = [f"probability_{name}" for name in contract.target.classes]

    def said(split: str) -> pd.DataFrame:
        rows = split_rows(split)[:800].reset_index(drop=True)
        answers = model.predict(session, features(rows, contract))
        return pd.concat([rows, pd.DataFrame(answers, columns=names)], axis=1)

    reference, window = said("fit"), said("test")
    unlabelled = window.assign(**{contract.target.column: None})
    for result, rows in zip(results, (window, unlabelled), strict=False):
        name, end = result["window"]["name"], pd.Timestamp(result["window"]["end"]).to_pydatetime()
        page = folder / paths.WINDOWS.name / f"{name}.html"
        draw(reference, rows, contract, 0.25, page, folder / paths.WORKSPACE.name, name, end)
    return Site(folder, results, reports.leave(folder, results, params, contract.name))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """What a real run of the monitor left of days with all that may be seen: see `_log_of_days`."""
    folder = tmp_path_factory.mktemp("a measured site")
    contract = make_watched(folder)
    add_promise_and_challenger(folder, contract)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv(VARIABLE, raising=False)
        # A registry that does not answer, so that nothing waits for an MLflow store.
        patch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{unused_port()}")
        url = f"sqlite:///{(folder / 'log.db').as_posix()}"
        _log_of_days(url, folder, contract)
        patch.setattr(sys, "argv", ["monitor", "--log", url, "--no-evidently"])
        with pytest.raises(SystemExit):
            monitor.main()
    windows = sorted((folder / paths.WINDOWS).glob("*.json"))
    decision = files.read_json(folder / paths.DECISION_REPORT)
    return Site(folder / paths.MONITORING, [files.read_json(each) for each in windows], decision)


def _log_of_days(url: str, folder: Path, contract: Contract) -> None:
    """Four days: a challenger in the shadow, some rows outside of the contract's bounds, requests refused."""
    rows = pd.concat([files.read_rows(folder / paths.split_rows(each)) for each in ("fit", "validation")])
    bounded = next(name for name in contract.numbers if contract.columns[name].max is not None)
    champion, challenger = model.load(folder / paths.RELEASED), model.load(folder / paths.CHALLENGER)
    for day in DAYS:
        period = window_of(day, contract).period
        time = rows[contract.time.column]
        part = rows[(time >= period.start) & (time < period.end)][::4].reset_index(drop=True)
        part.loc[::50, bounded] = float(contract.columns[bounded].max or 0) + 1
        fill(url, part, champion, "1", contract, challenger)
        noon = int(period.start.timestamp()) + 12 * HOUR_SECONDS
        refused = {INVALID_ROWS: 7, "invalid_json": 2}
        with closing(open_store(url, list(contract.columns), contract.hash, contract.numbers)) as store:
            store.write_refusals([Refused(noon, noon, why, day, count) for why, count in refused.items()])


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., tuple[Any, Seen]]]:
    contexts = []

    def opened(address: str, viewport: dict[str, int] = DESK, scheme: str = "light") -> tuple[Any, Seen]:
        contexts.append(browser.new_context(viewport=viewport, color_scheme=scheme))
        tab, seen = contexts[-1].new_page(), Seen([], [])
        tab.on("console", lambda said: seen.complaints.append(said.text) if said.type == "error" else None)
        tab.on("pageerror", lambda error: seen.complaints.append(str(error)))
        tab.on("request", lambda request: seen.requests.append(request.url))
        tab.goto(address)
        return tab, seen

    yield opened
    for context in contexts:
        context.close()


def _elsewhere(seen: Seen) -> list[str]:
    return [url for url in seen.requests if not url.startswith(("file:", "data:", "blob:"))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_it_opens_without_a_complaint_or_a_request_and_fits_the_screen(
    site: Site, open_page: Callable[..., tuple[Any, Seen]], viewport: dict[str, int], scheme: str
) -> None:
    tab, seen = open_page(site.address, viewport, scheme)
    tab.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")

    assert seen.complaints == []
    assert _elsewhere(seen) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def test_light_and_dark_look_different(site: Site, open_page: Callable[..., tuple[Any, Seen]]) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"

    found = {open_page(site.address, scheme=each)[0].evaluate(colour) for each in ("light", "dark")}

    assert len(found) == 2


def test_the_decision_is_what_one_sees_first(site: Site, open_page: Callable[..., tuple[Any, Seen]]) -> None:
    tab, _ = open_page(site.address, PHONE)

    box = tab.locator("#decision").bounding_box()

    assert box["y"] + box["height"] <= PHONE["height"]
    assert tab.locator("#decision").get_attribute("data-state") == site.decision["state"]


def test_the_numbers_one_sees_are_those_of_the_json(
    site: Site, open_page: Callable[..., tuple[Any, Seen]]
) -> None:
    tab, _ = open_page(site.address)

    for result in site.results:
        row = tab.locator(f"tr[data-window='{result['window']['name']}']")
        seen = [float(each) for each in row.locator("data").evaluate_all("all => all.map(e => e.value)")]
        money = (result["performance"] or {}).get("money")
        cost = money["model"] if money else result["estimated"]["metrics"]["cost"]
        expected = [result["rows"], result["labels"]["share"], cost["value"], cost["low"], cost["high"]]
        assert seen == expected
        assert f"{cost['value']:,.0f}" in row.inner_text()


def test_every_number_of_a_real_run_is_that_of_its_json(
    measured: Site, open_page: Callable[..., tuple[Any, Seen]]
) -> None:
    tab, seen = open_page(measured.address)
    expected = page_numbers.expected(measured.results, measured.decision)

    everything = page_numbers.shown(tab, "body")
    for place, values in expected.items():
        assert page_numbers.shown(tab, place) == values, place
    assert len(everything) == sum(map(len, expected.values()))
    assert seen.complaints == []


def test_every_number_reads_as_its_value(measured: Site, open_page: Callable[..., tuple[Any, Seen]]) -> None:
    tab, _ = open_page(measured.address)
    texts = tab.locator("data").evaluate_all("all => all.map(e => [Number(e.value), e.textContent])")

    for value, text in texts:
        assert text in (number(value), f"{value:.1%}", f"{value:,.0f}")
    figures = tab.locator(".figures .value").all_inner_texts()
    assert figures == page_numbers.figures(measured.results, measured.decision)


def test_a_broken_rule_refusals_and_a_challenger_are_told_of(
    measured: Site, open_page: Callable[..., tuple[Any, Seen]]
) -> None:
    tab, _ = open_page(measured.address)
    latest = page_numbers.latest(measured.results, measured.decision)

    quality = tab.locator("section[aria-labelledby=quality]").inner_text()
    broken = [rule for rule in latest["quality"]["rules"] if rule["passed"] is False]
    assert broken and all(rule["rule"] in quality and rule["measured"] in quality for rule in broken)
    passed = [rule["passed"] for rule in latest["quality"]["rules"]]
    counts = f"{passed.count(True)} of {len(passed)} rules hold, {passed.count(False)} is broken"
    assert f"{counts}, {passed.count(None)} could not be judged." in quality
    assert set(latest["quality"]["refused"]) == {INVALID_ROWS, "invalid_json"}
    assert all(reason.replace("_", " ") in quality for reason in latest["quality"]["refused"])
    challenger = tab.locator("section[aria-labelledby=shadow]").inner_text()
    assert latest["shadow"]["model_version"] in challenger


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_a_real_run_fits_the_screen(
    measured: Site, open_page: Callable[..., tuple[Any, Seen]], viewport: dict[str, int], scheme: str
) -> None:
    tab, seen = open_page(measured.address, viewport, scheme)
    tab.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")

    assert seen.complaints == [] and _elsewhere(seen) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def test_every_link_opens_without_a_complaint_or_a_request(
    site: Site, open_page: Callable[..., tuple[Any, Seen]]
) -> None:
    tab, _ = open_page(site.address)
    addresses = tab.locator("a").evaluate_all("all => all.map(each => each.href)")
    files = sorted({each for each in addresses if "#" not in each})

    assert len(files) == WEEKS + 2
    for address in files:
        opened, seen = open_page(address)
        opened.wait_for_load_state("networkidle")
        assert seen.complaints == [], address
        assert _elsewhere(seen) == [], address
        if address.endswith(".json"):
            name = json.loads(opened.locator("body").inner_text())["window"]["name"]
            assert name == Path(address).stem
        else:
            opened.get_by_text("Data Drift Summary").wait_for()
            opened.get_by_role("link", name="Back to the decision").click()
            assert opened.url == site.address


def test_a_link_to_a_window_goes_to_its_row(site: Site, open_page: Callable[..., tuple[Any, Seen]]) -> None:
    name = site.results[0]["window"]["name"]

    tab, _ = open_page(f"{site.address}#{name}")

    assert tab.evaluate("document.querySelector(':target').dataset.window") == name


def test_the_keyboard_reaches_every_link_and_every_table_and_shows_where_it_is(
    site: Site, open_page: Callable[..., tuple[Any, Seen]]
) -> None:
    tab, _ = open_page(site.address)
    wanted = tab.locator("header a, #windows ~ table a, main > section > table a, summary").count()

    reached, kinds = [], set()
    for _ in range(TABS):
        tab.keyboard.press("Tab")
        where = tab.evaluate(
            "(e => e === document.body ? null : [e.tagName, e.innerText, e.getAttribute('href'),"
            " getComputedStyle(e).outlineStyle])(document.activeElement)"
        )
        if where is None:
            break
        reached.append(where)
        kinds.add(where[0])

    assert reached[0][2] == "#windows"  # past everything, for who knows the page
    assert {"A", "SUMMARY"} <= kinds
    assert all(outline != "none" for *_, outline in reached)
    assert len(reached) >= wanted


def test_every_chart_has_a_title_and_words_for_who_cannot_see_it(
    site: Site, open_page: Callable[..., tuple[Any, Seen]]
) -> None:
    tab, _ = open_page(site.address)

    charts = tab.get_by_role("img")
    for i in range(charts.count()):
        snapshot = charts.nth(i).locator("title, desc").evaluate_all("all => all.map(e => e.textContent)")
        assert all(len(each) > 1 for each in snapshot[:2])
    assert charts.count() == tab.locator("figure").count() == tab.locator("figure table").count() > 8
