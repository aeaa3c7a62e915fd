"""Stage `check_split`: fit, validation and test held against the contract, alone and together."""

import pandas as pd

from takeoff import check_report, checks, files, paths
from takeoff.errors import TakeoffError
from takeoff.split import periods
from takeoff.stage import read_config, run

QUARANTINE = paths.QUARANTINE / "split.parquet"
REPORT = paths.CHECK_REPORTS / "split.json"
PAGE = paths.CHECK_REPORTS / "split.html"


def main() -> None:
    contract, params = read_config()
    parts = periods(params, contract)
    splits = {name: files.read_rows(paths.split_rows(name)) for name in parts}
    rows = pd.concat(splits.values(), ignore_index=True)
    source = paths.SPLIT.as_posix()
    outcomes = checks.check_splits(splits, parts, contract)

    files.write_rows(QUARANTINE, check_report.quarantined(rows, outcomes))
    files.write_json(REPORT, check_report.as_json(source, rows, outcomes, contract))
    files.write_text(PAGE, check_report.page("Checks of the splits", source, rows, outcomes, contract))
    if any(outcome.stops for outcome in outcomes):
        raise TakeoffError(check_report.refusal(source, outcomes, PAGE.as_posix(), QUARANTINE.as_posix()))
    print(check_report.headline(outcomes))
    for line in check_report.lines([outcome for outcome in outcomes if outcome.warns]):
        print(f"  warning: {line}")


if __name__ == "__main__":
    run(main)
