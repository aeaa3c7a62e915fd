"""Stage `ingest`: raw tables to contract rows, and what lies after the window put out of reach."""

from typing import Any

import pandas as pd

from takeoff import dataset, files, paths
from takeoff.contract import check_columns
from takeoff.split import Period, check_window, days, known_by, window, within
from takeoff.stage import read_config, run


def main() -> None:
    contract, params = read_config()
    tables = dataset.read_tables(dataset.raw_files())
    rows = dataset.build_rows(tables)
    check_columns(list(rows.columns), contract)
    rows = rows[contract.all_columns]
    check_window(rows, params, contract)

    period = window(params, contract)
    after = Period(period.end, rows[contract.time.column].max() + period.end.resolution)
    inside, production = within(rows, period, contract), within(rows, after, contract)
    known = known_by(inside, period.end, contract)
    first, last = days(rows, contract)
    report: dict[str, dict[str, Any]] = {
        "days": {"first": first.isoformat(), "last": last.isoformat()},
        "source": dataset.count_unlabelled(tables),
        "window": _counts(inside, known, contract.target.column),
        "production": {"rows": len(production)},
    }
    files.write_rows(paths.RAW_ROWS, known)
    files.write_rows(paths.PRODUCTION_ROWS, production)
    files.write_json(paths.INGEST_REPORT, report)
    print(_summary(report))


def _counts(rows: pd.DataFrame, known: pd.DataFrame, target: str) -> dict[str, int]:
    labelled = int(known[target].notna().sum())
    return {
        "rows": len(rows),
        "labelled": labelled,
        "unlabelled": len(rows) - labelled,
        "known_too_late": int(rows[target].notna().sum()) - labelled,
    }


def _summary(report: dict[str, dict[str, Any]]) -> str:
    source = ", ".join(f"{count:,} {name}" for name, count in report["source"].items())
    counts = report["window"]
    return (
        f"Read {source}. Window: {counts['rows']:,} rows, {counts['unlabelled']:,} of them without a label "
        f"({counts['known_too_late']:,} because it came after the window's end). "
        f"Production, set aside: {report['production']['rows']:,} rows."
    )


if __name__ == "__main__":
    run(main)
