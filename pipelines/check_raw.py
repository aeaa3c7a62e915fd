"""Stage `check_raw`: raw rows held against the contract; those that break a rule that warns are set aside."""

from takeoff import check_report, checks, files, paths
from takeoff.check_rules import derive
from takeoff.errors import TakeoffError
from takeoff.split import window
from takeoff.stage import read_config, run

QUARANTINE = paths.QUARANTINE / "raw.parquet"
REPORT = paths.CHECK_REPORTS / "raw.json"
PAGE = paths.CHECK_REPORTS / "raw.html"


def main() -> None:
    contract, params = read_config()
    rules = derive(contract, window(params, contract))
    rows = files.read_rows(paths.RAW_ROWS)
    source = paths.RAW_ROWS.as_posix()
    outcomes = checks.check(rows, rules)

    files.write_rows(QUARANTINE, check_report.quarantined(rows, outcomes))
    files.write_json(REPORT, check_report.as_json(source, rows, outcomes, contract))
    files.write_text(PAGE, check_report.page("Checks of the raw rows", source, rows, outcomes, contract))
    if any(outcome.stops for outcome in outcomes):
        raise TakeoffError(check_report.refusal(source, outcomes, PAGE.as_posix(), QUARANTINE.as_posix()))
    files.write_rows(paths.CHECKED_ROWS, check_report.without_broken(rows, outcomes))
    print(check_report.headline(outcomes))
    for line in check_report.lines([outcome for outcome in outcomes if outcome.warns]):
        print(f"  warning: {line}")


if __name__ == "__main__":
    run(main)
