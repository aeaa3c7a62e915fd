"""A real Prometheus with our rules scrapes the real service: what it says is what happened."""

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml

from monitoring.drift import population_stability
from serving.histograms import ANSWER, Histograms, count
from serving.requests import Feed
from takeoff.contract import read_contract
from tests.evidence import until
from tests.small_package import Packed
from tests.small_release import PROJECT, small_rows
from tests.small_service import Service, as_sent, free_port, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (Debian)"),
]

CONTRACT = read_contract(PROJECT)
RULES = PROJECT / "monitoring" / "prometheus" / "alerts.yaml"
DASHBOARD = PROJECT / "monitoring" / "grafana" / "takeoff.json"
ROWS = 2_000
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
    with serving(boosted, tmp_path_factory.mktemp("watched")) as running:
        yield running


@pytest.fixture(scope="module")
def prometheus(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": "takeoff", "static_configs": [{"targets": [f"127.0.0.1:{service.port}"]}]}
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


def test_every_query_of_the_dashboard_is_one_that_prometheus_takes(prometheus: Prometheus) -> None:
    panels = [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]

    for panel in panels:
        assert panel["targets"]
        for target in panel["targets"]:
            prometheus.get("query", query=target["expr"])  # an expression it can't read is an HTTP error


def test_the_drift_that_prometheus_computes_is_that_of_the_monitor(
    boosted: Packed, service: Service, prometheus: Prometheus
) -> None:
    """Of the columns and of the answers, from the same rows; Prometheus only knows increases."""
    sent = [as_sent(row, CONTRACT) for row in small_rows()[-ROWS:].to_dict("records")]
    assert service.post("/predict_batch", {"rows": sent})[0] == 200
    answers = f'sum(takeoff_values_total{{column="{ANSWER}"}})'
    until(lambda: prometheus.values(answers) == {(): float(ROWS)}, "all rows are scraped")

    counted = prometheus.values("sum by (column, bin) (takeoff_values_total)")
    feed, _ = Feed(CONTRACT).columns(sent)
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
    recorded = {
        rule["record"]: "".join(rule["expr"].split())
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    }

    assert recorded["takeoff:share_1d"] == "".join(SHARE.replace("COUNTS", "takeoff:values_1d").split())
    assert recorded["takeoff:psi_1d"] == "".join(FORMULA.replace("SHARE", "takeoff:share_1d").split())
