"""Stage `evaluate`: measure every candidate's ONNX file on the test split; nothing else is loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from takeoff import bootstrap, evaluation, files, model, paths, value
from takeoff.bootstrap import Estimate
from takeoff.contract import Contract
from takeoff.evaluation import Scored
from takeoff.features import Examples, examples
from takeoff.model import Model
from takeoff.params import Params
from takeoff.stage import read_config, run, show
from takeoff.timing import MANY_ROWS, Timing, time_model


def main() -> None:
    contract, params = read_config()
    validation = examples(files.read_rows(paths.split_rows("validation")), contract)
    rows = files.read_rows(paths.split_rows("test"))
    test = examples(rows, contract)
    evaluation.check_classes("test", test.labels, contract)
    models = {name: model.load(paths.CANDIDATES / name) for name in params.compete}
    thresholds = {name: _threshold(each, validation, contract) for name, each in models.items()}
    scored = {
        name: evaluation.score(
            test.labels, model.predict(each.session, test.features), thresholds[name], contract
        )
        for name, each in models.items()
    }
    report = {name: _report(scored[name], thresholds[name], rows, params, contract) for name in models}
    timings = {name: time_model(each.session, test.features) for name, each in models.items()}
    files.write_json(paths.EVALUATION_REPORT, report)
    _write_curves(scored, params, contract)
    # Times differ from run to run, so they are no output that DVC compares.
    files.write_json(paths.TIMING_REPORT, {name: timing._asdict() for name, timing in timings.items()})
    _print_table(report, timings, contract)


def _threshold(each: Model, validation: Examples, contract: Contract) -> float:
    """Chosen on validation, so that test says what it is worth on rows it has not seen."""
    probabilities = model.predict(each.session, validation.features)
    return value.best_threshold(validation.labels, probabilities, value.cost_matrix(contract))


def _report(
    scored: Scored, threshold: float, rows: pd.DataFrame, params: Params, contract: Contract
) -> dict[str, Any]:
    settings = params.evaluation
    resamples = bootstrap.resample(rows, contract, settings.resamples, params.seed)
    metrics = evaluation.measure(scored, resamples, settings)
    slices = evaluation.measure_slices(scored, rows, resamples, settings, contract)
    return {
        "rows": len(rows),
        "event_share": round(float(scored.labels.mean()), 6),
        "threshold": threshold,
        "metrics": _rounded(metrics),
        "slices": [
            {
                "slice": each.slice,
                "group": each.group,
                "rows": each.rows,
                "event_share": round(each.event_share, 6),
                "metrics": _rounded(each.metrics),
            }
            for each in slices
        ],
    }


def _rounded(metrics: dict[str, Estimate]) -> dict[str, dict[str, float]]:
    """Enough digits to compare, few enough to be the same on every run."""
    return {
        name: {side: round(number, 6) for side, number in estimate._asdict().items()}
        for name, estimate in metrics.items()
    }


def _write_curves(scored: dict[str, Scored], params: Params, contract: Contract) -> None:
    """One file a curve, with the points of every candidate, as `dvc plots` reads them."""
    draw: dict[str, Callable[[Scored], list[dict[str, float]]]] = {
        "roc": evaluation.roc_curve,
        "precision_recall": evaluation.precision_recall_curve,
        "calibration": lambda each: evaluation.calibration_curve(each, params.evaluation.calibration_bins),
        "cost": lambda each: evaluation.cost_points(each, contract),
    }

    def fill(folder: Path) -> None:
        for curve, points_of in draw.items():
            points = [
                {"candidate": name, **point} for name, each in scored.items() for point in points_of(each)
            ]
            files.write_json(folder / f"{curve}.json", points)

    files.replace_folder(paths.PLOTS, fill)


def _print_table(report: dict[str, Any], timings: dict[str, Timing], contract: Contract) -> None:
    first = next(iter(report.values()))
    table = Table(
        title=f"Test split: {first['rows']:,} rows, {first['event_share']:.1%} {contract.target.classes[-1]}",
        caption=f"cost: {contract.costs.currency} for {value.PER_ROWS:,} rows; in brackets the "
        f"interval over resampled days; time for {MANY_ROWS:,} rows",
    )
    for heading in ("candidate", "ROC AUC", "log loss", "calibration error", "cost", "1 row", "many rows"):
        table.add_column(heading, justify="left" if heading == "candidate" else "right")
    for name, each in report.items():
        metrics, timing = each["metrics"], timings[name]
        table.add_row(
            name,
            *(_shown(metrics[metric], ".3f") for metric in ("roc_auc", "log_loss", "calibration_error")),
            _shown(metrics["cost"], ",.0f"),
            f"{timing.one_row_us:,.0f} us",
            f"{timing.many_rows_ms:,.0f} ms",
        )
    show(table)


def _shown(estimate: dict[str, float], form: str) -> str:
    return f"{estimate['value']:{form}} [{estimate['low']:{form}}, {estimate['high']:{form}}]"


if __name__ == "__main__":
    run(main)
