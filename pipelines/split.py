"""Stage `split`: checked rows to fit, validation and test, by time; rows without a label stay behind."""

from takeoff import files, paths
from takeoff.split import labelled, periods, within
from takeoff.stage import read_config, run


def main() -> None:
    contract, params = read_config()
    rows = labelled(files.read_rows(paths.CHECKED_ROWS), contract)
    for name, period in periods(params, contract).items():
        part = within(rows, period, contract)
        files.write_rows(paths.split_rows(name), part)
        print(f"{name:<11}{len(part):>8,} rows from {period.start} up to {period.end}")


if __name__ == "__main__":
    run(main)
