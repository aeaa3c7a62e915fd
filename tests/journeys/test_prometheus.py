"""A real Prometheus with our rules scrapes the real service: what it says is what happened."""

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml

from monitoring import faults
from monitoring.drift import population_stability
from serving.histograms import ANSWER, Histograms, count
from serving.requests import Feed
from takeoff.contract import read_contract
from takeoff.ports import unused_port
from tests import challengers
from tests.evidence import until
from tests.promql import Exposed, collected, exposed_by, wrong
from tests.small_package import Packed
from tests.small_release import PROJECT, small_rows
from tests.small_service import Service, as_sent, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (Debian)"),
]

CONTRACT = read_contract(PROJECT)
RULES = PROJECT / "monitoring" / "prometheus" / "alerts.yaml"
DASHBOARD = PROJECT / "monitoring" / "grafana" / "takeoff.json"
KEY = "a-key-of-some-length-0123456789"
WITH_KEY = {"Authorization": f"Bearer {KEY}"}
RUNBOOK = "https://team.example/RUNBOOK.md"
BATCH, SINGLE, ROUNDS = 1_000, 20, 2  # rows; a rate needs an increase between two scrapes
# Of what the rules ask for, this traffic brings about all but these; other journeys of the service do.
RARE = ('{status="5.."}', '{reason="busy"}', '{outcome="dropped"}')
SHARE = "(COUNTS + 0.5) / on (column) group_left () sum by (column) (COUNTS + 0.5)"
FORMULA = (
    "sum by (column) ((SHARE - on (column, bin) max by (column, bin) (takeoff_reference_share)) "
    "* on (column, bin) ln(SHARE / on (column, bin) max by (column, bin) (takeoff_reference_share)))"
)


class Prometheus(NamedTuple):
    """One that runs."""

    port: int

    def get(self, path: str, **parameters: str) -> Any:
        """What its API says."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}", timeout=30
        ) as answer:
            return json.load(answer)["data"]

    def values(self, expression: str) -> dict[tuple[str, ...], float]:
        """Value of an expression now, by the values of its labels in the order of their names."""
        return {
            tuple(value for name, value in sorted(each["metric"].items()) if name != "__name__"): float(
                each["value"][1]
            )
            for each in self.get("query", query=expression)["result"]
        }


@pytest.fixture(scope="module")
def service(boosted: Packed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The packed Bento, behind a key, with a challenger that fails at every row."""
    folder = tmp_path_factory.mktemp("watched")
    failing = challengers.failing(boosted, CONTRACT, folder / "failing")
    with serving(challengers.with_challenger(boosted, folder, failing), folder, api_keys=KEY) as running:
        yield running


@pytest.fixture(scope="module")
def prometheus(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder, port = tmp_path_factory.mktemp("prometheus"), unused_port()
    settings = {
        "global": {
            "scrape_interval": "1s",
            "evaluation_interval": "1s",
            "external_labels": {"runbook": RUNBOOK},
        },
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {
                "job_name": "takeoff",
                "authorization": {"credentials": KEY},
                "static_configs": [{"targets": [f"127.0.0.1:{service.port}"]}],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=output, stderr=subprocess.STDOUT
        )
    started = Prometheus(port)
    try:
        until(lambda: _is_up(started), "Prometheus has scraped the service")
        yield started
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def traffic(service: Service, prometheus: Prometheus) -> list[dict[str, Any]]:
    """Rows that were answered, all scraped; with them came refusals of three kinds, and labels."""
    answered: list[dict[str, Any]] = []
    for _ in range(ROUNDS):
        answered += _one_round(service)
        _wait_for(prometheus, len(answered))
    return answered


def _wait_for(prometheus: Prometheus, rows: int) -> None:
    """Until it has scraped that so many rows were answered, and shown to the challenger."""
    for sum_of in (f'takeoff_values_total{{column="{ANSWER}"}}', 'takeoff_shadow_total{outcome="failed"}'):
        query = f"sum({sum_of})"
        until(lambda query=query: prometheus.values(query) == {(): float(rows)}, f"{query} is {rows}")


def _one_round(service: Service) -> list[dict[str, Any]]:
    rows = [as_sent(row, CONTRACT) for row in small_rows()[-BATCH:].to_dict("records")]
    status, answers = service.post("/predict_batch", {"rows": rows}, WITH_KEY)
    assert status == 200
    category = next(name for name in CONTRACT.categories if CONTRACT.columns[name].pattern)
    known = {row[category] for row in rows}
    new = faults.unseen(rows[0][category], known, CONTRACT.columns[category].pattern or "")
    single = [row | {category: new} for row in rows[:SINGLE]]
    assert [service.post("/predict", row, WITH_KEY)[0] for row in single] == [200] * SINGLE
    labels = [
        {"prediction_id": each["prediction_id"], "label": CONTRACT.target.classes[0]}
        for each in answers["predictions"]
    ]
    assert service.post("/feedback", {"labels": labels}, WITH_KEY)[0] == 200
    assert service.post("/predict", rows[0] | {category: 1}, WITH_KEY)[0] == 422
    assert service.post("/predict", b"{", WITH_KEY)[0] == 400
    assert service.post("/predict", rows[0])[0] == 401
    return [*rows, *single]


@pytest.fixture(scope="module")
def exposed(traffic: list[dict[str, Any]], service: Service, prometheus: Prometheus) -> Exposed:
    """What the service's own page exposes after the traffic, and what the rules record of it."""
    recorded = [rule["record"] for rule in rules() if "record" in rule]
    made = [each["metric"] for name in recorded for each in prometheus.get("query", query=name)["result"]]
    return {
        **exposed_by(service.get("/metrics", WITH_KEY)[1]),
        **collected((each["__name__"], each) for each in made),
        "up": {"job": {"takeoff"}},
    }


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def targets() -> list[dict[str, Any]]:
    """All queries of the dashboard."""
    panels = [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]
    assert all(panel["targets"] for panel in panels)
    return [target for panel in panels for target in panel["targets"]]


def unknown(expression: str, exposed: Exposed) -> list[str]:
    """What an expression names and nobody exposes, but for what is rare."""
    return [each for each in wrong(expression, exposed) if not each.endswith(RARE)]


def _is_up(prometheus: Prometheus) -> bool:
    try:
        return list(prometheus.values("up").values()) == [1.0]
    except OSError:
        return False


def _health(prometheus: Prometheus) -> set[str]:
    return {rule["health"] for group in prometheus.get("rules")["groups"] for rule in group["rules"]}


def test_our_rules_are_loaded_and_none_fails(prometheus: Prometheus) -> None:
    groups = prometheus.get("rules")["groups"]
    ours = yaml.safe_load(RULES.read_text())["groups"]
    until(lambda: _health(prometheus) == {"ok"}, "all rules have run")

    assert {group["name"]: len(group["rules"]) for group in groups} == {
        group["name"]: len(group["rules"]) for group in ours
    }


def test_every_query_of_the_dashboard_names_what_is_exposed_and_shows_something(
    exposed: Exposed, prometheus: Prometheus
) -> None:
    for target in targets():
        assert unknown(target["expr"], exposed) == []
        result = prometheus.get("query", query=target["expr"])["result"]
        assert result, target["expr"]
        assert all(np.isfinite(float(each["value"][1])) for each in result), target["expr"]
        legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        assert all(legend <= set(each["metric"]) for each in result), target["legendFormat"]


def test_every_alert_names_what_is_exposed_and_compares_something(
    exposed: Exposed, prometheus: Prometheus
) -> None:
    for rule in alerts():
        assert unknown(rule["expr"], exposed) == []
        if wrong(rule["expr"], exposed):
            continue  # it asks for something rare, so there is nothing to compare
        without_levels = re.sub(r"\s([<>]=?|==)\s*[\d.]+", "", rule["expr"])
        result = prometheus.get("query", query=without_levels)["result"]
        assert result, rule["alert"]
        told = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert all(told <= set(each["metric"]) for each in result), rule["alert"]


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("sum(rate(takeoff_request_total[5m]))", "takeoff_request_total"),
        ("sum by (path) (rate(takeoff_requests_total[5m]))", "by (path)"),
        ('sum(takeoff_refusals_total{reason="bad"})', 'takeoff_refusals_total{reason="bad"}'),
        ('sum(takeoff_refusals_total{code=~"busy"})', 'takeoff_refusals_total{code="busy"}'),
    ],
)
def test_a_wrong_name_label_or_value_in_a_query_is_found(
    expression: str, named: str, exposed: Exposed
) -> None:
    assert unknown(expression, exposed) == [named]


def test_an_alert_that_calls_carries_the_whole_address_of_its_runbook_entry(
    traffic: list[dict[str, Any]], prometheus: Prometheus
) -> None:
    name = "TakeoffChallengerFails"  # it fails at every row, and more than that has to wait half an hour

    def calling() -> list[str]:
        return [
            each["annotations"]["runbook_url"]
            for each in prometheus.get("alerts")["alerts"]
            if each["labels"]["alertname"] == name
        ]

    until(calling, "the rule has seen it")
    assert calling() == [f"{RUNBOOK}#{name.lower()}"]


def test_the_drift_that_prometheus_computes_is_that_of_the_monitor(
    boosted: Packed, traffic: list[dict[str, Any]], prometheus: Prometheus
) -> None:
    """Of the columns and of the answers, from the same rows; Prometheus only knows increases."""
    counted = prometheus.values("sum by (column, bin) (takeoff_values_total)")
    feed, _ = Feed(CONTRACT).columns(traffic)
    for column, bins in Histograms(boosted.bento / "src", CONTRACT)._bins.items():
        found = np.array([counted[name, column] for name in bins.names])
        if column != ANSWER:
            expected = count(feed[column].ravel(), bins)
            assert found.tolist() == expected.tolist(), column
        # The formula of the rules, on counts instead of a day's increase.
        psi = FORMULA.replace(
            "SHARE", "(" + SHARE.replace("COUNTS", f'takeoff_values_total{{column="{column}"}}') + ")"
        )
        expected_psi = float(population_stability(found, bins.counts))
        assert prometheus.values(psi)[(column,)] == pytest.approx(expected_psi, rel=1e-6, abs=1e-9)


def test_the_rules_record_the_drift_by_the_formula_that_was_compared() -> None:
    recorded = {rule["record"]: "".join(rule["expr"].split()) for rule in rules() if "record" in rule}

    assert recorded["takeoff:share_1d"] == "".join(SHARE.replace("COUNTS", "takeoff:values_1d").split())
    assert recorded["takeoff:psi_1d"] == "".join(FORMULA.replace("SHARE", "takeoff:share_1d").split())
