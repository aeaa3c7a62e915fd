"""Alert rules: each calls when it should, leads to its runbook entry, and reads metrics that exist."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import yaml

from monitoring.decision import EXIT_CODES
from serving import metrics
from tests.small_release import PROJECT

RULES = PROJECT / "monitoring" / "prometheus" / "alerts.yaml"
RULE_TESTS = sorted((PROJECT / "monitoring" / "prometheus").glob("*_test.yaml"))
DASHBOARD = PROJECT / "monitoring" / "grafana" / "takeoff.json"
RUNBOOK = PROJECT / "monitoring" / "RUNBOOK.md"
SETTINGS = PROJECT / "serving" / "deploy" / "prometheus" / "prometheus.yml"
SUFFIXES = ("_bucket", "_sum", "_count", "_total")

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def exposed() -> set[str]:
    """Names of the families that the service's own module registers."""
    families = [
        each
        for each in vars(metrics).values()
        if isinstance(each, prometheus_client.metrics.MetricWrapperBase)
    ]
    return {family._name for family in families}


def anchors() -> set[str]:
    """Where a link into the runbook can lead, as GitHub names headings."""
    headings = re.findall(r"^#+ (.+)$", RUNBOOK.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}


def queries() -> str:
    """All queries of the dashboard."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return " ".join(target["expr"] for panel in panels for target in panel.get("targets", []))


def named(text: str) -> set[str]:
    found = re.findall(r"\btakeoff_[a-z_]+", text)
    for suffix in SUFFIXES:
        found = [each.removesuffix(suffix) for each in found]
    return set(found)


def test_the_rules_are_what_prometheus_takes() -> None:
    done = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("tests", RULE_TESTS, ids=lambda each: each.stem)
def test_every_alert_calls_where_it_should_and_nowhere_else(tests: Path) -> None:
    done = subprocess.run(["promtool", "test", "rules", tests], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_both_ways() -> None:
    tested = {
        (case["alertname"], bool(case["exp_alerts"]))
        for file in RULE_TESTS
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test["alert_rule_test"]
    }
    assert tested == {(each["alert"], calls) for each in alerts() for calls in (True, False)}


def test_every_alert_has_its_runbook_entry_and_every_entry_its_alert() -> None:
    entries = re.findall(r"^## (Takeoff\w+)$", RUNBOOK.read_text(), re.MULTILINE)

    assert sorted(entries) == sorted(each["alert"] for each in alerts())


def test_every_alert_leads_to_its_entry_at_the_address_that_is_set_once() -> None:
    settings = yaml.safe_load(SETTINGS.read_text())["global"]["external_labels"]

    for each in alerts():
        base, anchor = each["annotations"]["runbook_url"].split("#")
        assert base == "{{ $externalLabels.runbook }}"
        assert anchor == each["alert"].lower() and anchor in anchors()
    assert settings["runbook"] == "${RUNBOOK_URL}"


def test_the_runbook_has_an_entry_for_whatever_the_monitor_ends_with() -> None:
    said = {f"make-monitor-says-{state}" for state in EXIT_CODES if state != "healthy"}

    assert {*said, "make-monitor-fails"} <= anchors()


def test_every_metric_of_a_rule_is_one_of_the_service() -> None:
    assert named(" ".join(each["expr"] for each in rules())) <= exposed()


def test_every_metric_of_the_dashboard_is_one_of_the_service_or_of_a_rule() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}

    assert named(queries()) <= exposed()
    assert set(re.findall(r"\btakeoff:[a-z0-9_]+", queries())) <= recorded
