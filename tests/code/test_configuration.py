"""contract.yaml and params.yaml: the real ones load, and every mistake is named with what was meant."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from takeoff.contract import CONTRACT_FILE, Contract, read_contract
from takeoff.errors import TakeoffError
from takeoff.features import Examples
from takeoff.params import MOST_MONTHS, PARAMS_FILE, Monitoring, Params, known_candidates, read_params
from takeoff.stage import read_config
from takeoff.training import train
from tests.conftest import PROJECT

C, P = CONTRACT_FILE, PARAMS_FILE

# File, text in it, what someone wrote instead, and what the message has to hold.
MISTAKES = {
    "misspelt key at the top": (P, "seed: ", "sead: ", ["unknown key 'sead'", "did you mean 'seed'?"]),
    "misspelt key further in": (
        P,
        "  resamples:",
        "  resample:",
        ["unknown key 'evaluation.resample'", "did you mean 'resamples'?"],
    ),
    "misspelt key in a list item": (
        P,
        "{column: carrier}",
        "{colum: carrier}",
        ["unknown key 'evaluation.slices.0.colum'", "did you mean 'column'?"],
    ),
    "misspelt key of a limited mapping": (
        P,
        "    roc_auc: {min",
        "    roc_au: {min",
        ["unknown key 'release.floors.roc_au'", "did you mean 'roc_auc'?"],
    ),
    "misspelt key in a mapping's value": (
        P,
        "roc_auc: {min",
        "roc_auc: {mim",
        ["unknown key 'release.floors.roc_auc.mim'", "did you mean 'min'?"],
    ),
    "key that resembles nothing": (
        P,
        "seed: ",
        "zzzzzz: ",
        ["unknown key 'zzzzzz'", "allowed: seed, window"],
    ),
    "missing key": (P, "seed: 2013", "", ["key 'seed' is missing"]),
    "word for a number": (P, "seed: 2013", "seed: many", ["seed:", "valid integer", "'many'"]),
    "number out of range": (
        P,
        "confidence: 0.95",
        "confidence: 95",
        ["evaluation.confidence", "less than 1"],
    ),
    "not a number": (P, "resamples: 1000", "resamples: .nan", ["evaluation.resamples", "finite"]),
    "share of a month": (P, "test_months: 1", "test_months: 1.5", ["split.test_months", "integer"]),
    "more months than the calendar": (
        P,
        "test_months: 1",
        "test_months: 99999999",
        ["split.test_months", f"{MOST_MONTHS}"],
    ),
    "day that does not exist": (P, "'2013-01-01'", "'2013-02-30'", ["window.start", "'2013-02-30'"]),
    "such a day without quotes": (P, "'2013-01-01'", "2013-02-30", ["YAML cannot read", "day"]),
    "window that ends before it starts": (
        P,
        "'2013-08-01'",
        "'2012-08-01'",
        ["window", "must be before end"],
    ),
    "value that is none of the allowed": (
        P,
        "metric: cost",
        "metric: costs",
        ["release.metric", "'costs' is not allowed", "did you mean 'cost'?"],
    ),
    "unknown competitor": (
        P,
        "  - network",
        "  - netwrk",
        ["compete", "no candidate 'netwrk'", "did you mean 'network'?"],
    ),
    "settings of an unknown candidate": (
        P,
        "\n  network:",
        "\n  netwrk:",
        ["candidates", "no candidate 'netwrk'", "did you mean 'network'?"],
    ),
    "competitor that stands twice": (P, "  - network", "  - rule", ["compete", "'rule' stands twice"]),
    "baseline that does not compete": (
        P,
        "  - rule\n  - logistic\n  - boosted",
        "  - logistic\n  - boosted",
        ["release.beats", "'rule' does not compete"],
    ),
    "unknown column in a slice": (
        P,
        "{column: carrier}",
        "{column: carier}",
        ["evaluation.slices", CONTRACT_FILE, "no column 'carier'", "did you mean 'carrier'?"],
    ),
    "slice of a number without edges": (
        P,
        "{column: carrier}",
        "{column: distance}",
        ["evaluation.slices", "'distance'", "need 'edges'"],
    ),
    "edges that fall": (P, "[0, 6, 10,", "[0, 10, 6,", ["evaluation.slices.3", "'edges' must grow"]),
    "critical slice that is not measured": (
        P,
        "critical_slices: [origin,",
        "critical_slices: [orgin,",
        ["release.critical_slices", "'orgin'", "did you mean 'origin'?"],
    ),
    "floor with two sides": (P, "{min: 0.70}", "{min: 0.7, max: 0.9}", ["release.floors.roc_auc", "either"]),
    "misspelt key of monitoring": (
        P,
        "    noise_quantile:",
        "    noise_quantil:",
        ["unknown key 'monitoring.drift.noise_quantil'", "did you mean 'noise_quantile'?"],
    ),
    "levels the wrong way round": (
        P,
        "psi: {watch: 0.10, severe: 0.25}",
        "psi: {watch: 0.25, severe: 0.10}",
        ["monitoring.drift.psi", "watch 0.25 must not be above severe 0.1"],
    ),
    "kind of window that there is none of": (
        P,
        "  window: week",
        "  window: weak",
        ["monitoring.window", "'weak' is not allowed", "did you mean 'week'?"],
    ),
    "more windows than are looked at": (
        P,
        "    retrain: 2",
        "    retrain: 4",
        ["monitoring.decision", "retrain 4 can't be more than last 3"],
    ),
    "key that stands twice": (P, "seed: 2013", "seed: 1\nseed: 2013", ["line 4", "'seed' stands twice"]),
    "key that is a list": (P, "seed: 2013", "? [a, b]\n: 1\nseed: 2013", ["no plain value"]),
    "bracket left open": (P, "seed: 2013", "seed: [2013", ["not valid YAML", "line 5"]),
    "misspelt key of a column": (
        C,
        "    about: airline",
        "    abuot: airline",
        ["unknown key 'columns.carrier.abuot'", "did you mean 'about'?"],
    ),
    "misspelt key of an error's cost": (
        C,
        "cost: 25",
        "cots: 25",
        ["unknown key 'costs.errors.0.cots'", "did you mean 'cost'?"],
    ),
    "misspelt type": (
        C,
        "type: category",
        "type: categry",
        ["columns.carrier.type", "did you mean 'category'?"],
    ),
    "bounds the wrong way round": (
        C,
        "min: 0\n    max: 23",
        "min: 30\n    max: 23",
        ["columns.departure_hour", "min 30 is above max 23"],
    ),
    "bounds of a category": (
        C,
        "values: [EWR, JFK, LGA]",
        "min: 1",
        ["columns.origin", "'min' and 'max' are for columns of type number"],
    ),
    "broken pattern": (C, "[A-Z0-9]{2}$", "[A-Z0-9{2}$", ["columns.carrier", "no regular expression"]),
    "example of the wrong type": (
        C,
        "example: EWR",
        "example: 3",
        ["columns.origin", "example must be a text"],
    ),
    "missing share above one": (
        C,
        "missing: 0.05",
        "missing: 5",
        ["columns.temperature.missing", "less than"],
    ),
    "unknown time zone": (
        C,
        "America/New_York",
        "America/New_Yrk",
        ["time", "no time zone 'America/New_Yrk'", "did you mean 'America/New_York'?"],
    ),
    "class that stands twice": (C, "[on_time, late]", "[late, late]", ["target", "stands twice"]),
    "third class of a binary task": (C, "[on_time, late]", "[on_time, late, lost]", ["two classes"]),
    "cost of an unknown class": (
        C,
        "{truth: late,",
        "{truth: lat,",
        ["costs.errors", "'lat' is not a class", "did you mean 'late'?"],
    ),
    "cost of no error": (C, "{truth: on_time, decision: late", "{truth: late, decision: late", ["no error"]),
    "error with two costs": (
        C,
        "{truth: on_time, decision: late",
        "{truth: late, decision: on_time",
        ["costs", "two costs"],
    ),
    "feature that is the target": (C, "column: outcome", "column: carrier", ["'carrier' is both a feature"]),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (C, P):
        shutil.copy(PROJECT / name, tmp_path)
    return tmp_path


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_projects_own_files_load() -> None:
    contract, params = read_config(PROJECT)

    assert set(params.compete) <= set(params.candidates) <= set(known_candidates())
    assert contract.numbers and contract.categories


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_file_and_what_is_allowed(folder: Path, mistake: str) -> None:
    file, right, wrong, fragments = MISTAKES[mistake]
    rewrite(folder / file, right, wrong)

    with pytest.raises(TakeoffError) as refused:
        read_config(folder)

    for fragment in (file, *fragments):
        assert fragment in str(refused.value)


@pytest.mark.parametrize("file", [C, P])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "must be a mapping"),
        (b"- a list\n", "must be a mapping"),
        (b"name: \xff\xfe", "not UTF-8"),
        (b"name: \x07", "not valid YAML"),
    ],
)
def test_a_file_that_holds_no_mapping_is_refused_by_name(
    folder: Path, file: str, content: bytes, said: str
) -> None:
    (folder / file).write_bytes(content)

    with pytest.raises(TakeoffError, match=said) as refused:
        read_config(folder)

    assert file in str(refused.value)


@pytest.mark.parametrize("file", [C, P])
def test_a_file_that_is_not_there_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()

    with pytest.raises(TakeoffError, match=f"{file} is missing"):
        read_config(folder)


def keys_of(node: yaml.MappingNode) -> Iterator[tuple[str, bool, int]]:
    """Every key below a node that stands on a line of its own: name, whether it is a group, line from 0."""
    for key, below in node.value:
        is_group = isinstance(below, yaml.MappingNode) and not below.flow_style
        yield key.value, is_group, key.start_mark.line
        if is_group:
            yield from keys_of(below)


def test_every_key_of_monitoring_has_a_comment_and_every_setting_says_what_it_trades() -> None:
    text = (PROJECT / P).read_text(encoding="utf-8")
    lines, tree = text.splitlines(), yaml.compose(text, Loader=yaml.SafeLoader)
    [monitoring] = [below for key, below in tree.value if key.value == "monitoring"]

    said = [(key, is_group, lines[line].partition("#")[2]) for key, is_group, line in keys_of(monitoring)]

    assert {key for key, _, _ in said} >= set(Monitoring.model_fields)
    assert [key for key, _, comment in said if not comment.strip()] == []
    assert [key for key, is_group, comment in said if not is_group and ";" not in comment] == []


def test_every_mistake_of_a_file_is_told_at_once(folder: Path) -> None:
    rewrite(folder / P, "confidence: 0.95", "confidence: 95")
    rewrite(folder / P, "slice_margin: 0.10", "slice_margin: -1")

    with pytest.raises(TakeoffError) as refused:
        read_config(folder)

    assert len(str(refused.value).splitlines()) == 2


def test_a_misspelt_setting_of_a_candidate_is_named_when_it_trains(
    split_examples: Callable[[str], Examples], small_params: Params, contract: Contract
) -> None:
    rule = small_params.candidates["rule"]
    settings = {("prior_row" if key == "prior_rows" else key): value for key, value in rule.settings.items()}
    edited = small_params.model_copy(
        update={"candidates": {"rule": rule.model_copy(update={"settings": settings})}}
    )
    fit = split_examples("fit")

    with pytest.raises(TakeoffError) as refused:
        train("rule", fit, fit, edited, contract)

    for fragment in (P, "'candidates.rule.settings.prior_row'", "did you mean 'prior_rows'?"):
        assert fragment in str(refused.value)


def test_comments_and_layout_do_not_change_the_contracts_hash(folder: Path) -> None:
    before = read_contract(folder).hash

    rewrite(folder / C, "[on_time, late]", "\n    - on_time\n    - late")
    rewrite(folder / C, "id: flight_id", "# a comment\nid:   'flight_id'")

    assert read_contract(folder).hash == before


@pytest.mark.parametrize(
    ("old", "new"),
    [("cost: 75", "cost: 76"), ("max: 23", "max: 22"), ("values: [EWR, JFK, LGA]", "values: [EWR, JFK]")],
)
def test_any_change_of_content_changes_the_contracts_hash(folder: Path, old: str, new: str) -> None:
    before = read_contract(folder).hash

    rewrite(folder / C, old, new)

    assert read_contract(folder).hash != before


def test_configuration_cannot_be_changed_once_read(contract: Contract) -> None:
    with pytest.raises(ValueError, match="frozen"):
        contract.name = "another"  # type: ignore[misc]


def test_parameters_are_read_against_the_contract_that_is_given(folder: Path, contract: Contract) -> None:
    columns = {name: column for name, column in contract.columns.items() if name != "carrier"}

    with pytest.raises(TakeoffError, match="no column 'carrier'"):
        read_params(folder, contract.model_copy(update={"columns": columns}))
