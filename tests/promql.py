"""What an expression of Prometheus names, held against what a service exposes."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from prometheus_client.parser import text_string_to_metric_families

Exposed = Mapping[str, Mapping[str, set[str]]]  # values of each label, by the name of the metric
WORDS = {"and", "or", "unless"}
SELECTOR = r"([a-zA-Z_:][\w:]*)\{([^}]*)\}"
MATCHER = r'(\w+)(=~|!~|!=|=)"([^"]*)"'
GROUPING = r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)"


def exposed_by(page: str) -> Exposed:
    """What a page of metrics exposes."""
    families = text_string_to_metric_families(page)
    return collected((each.name, each.labels) for family in families for each in family.samples)


def collected(series: Iterable[tuple[str, Mapping[str, str]]]) -> Exposed:
    """Names and labels of series as one."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for metric, labels in series:
        for name, value in labels.items():
            found[metric][name].add(value)
        found[metric]  # also one without labels
    return found


def wrong(expression: str, exposed: Exposed) -> list[str]:
    """What an expression names and nobody exposes: metrics, labels, and values that a label never has."""
    found = []
    for metric, matchers in re.findall(SELECTOR, expression):
        for label, operator, text in re.findall(MATCHER, matchers):
            known = exposed.get(metric, {}).get(label, set())
            wanted = text.split("|") if "~" in operator else [text]
            found += [f'{metric}{{{label}="{each}"}}' for each in wanted if each not in known]
    bare = re.sub(r"\{[^}]*\}|\[\w+\]", "", expression)  # without labels and ranges
    names = re.findall(r"([a-zA-Z_:][\w:]*)\b(?!\s*\()", re.sub(GROUPING, "", bare))
    metrics = [each for each in names if each not in WORDS]
    found += [each for each in metrics if each not in exposed]
    groups = {each.strip() for labels in re.findall(GROUPING, bare) for each in labels.split(",")} - {""}
    labels = {label for each in metrics for label in exposed.get(each, ())}
    return [*found, *(f"by ({each})" for each in sorted(groups - labels))]
