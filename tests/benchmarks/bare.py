"""What the pipeline is compared with: the same tables, the same four fits, and nothing else.

No checks, no ONNX, no calibration, no tracking, no gate: what a notebook does, as one script.
"""

from takeoff import candidates, dataset
from takeoff.features import examples
from takeoff.split import labelled, periods, within
from takeoff.stage import read_config


def main() -> None:
    """Read, build rows, fit every candidate of params.yaml with its settings, predict the test split."""
    contract, params = read_config()
    rows = labelled(dataset.build_rows(dataset.read_tables(dataset.raw_files())), contract)
    fit, validation, test = (
        examples(within(rows, period, contract), contract) for period in periods(params, contract).values()
    )
    for name in params.compete:
        module = candidates.load(name)
        settings = module.Settings.model_validate(params.candidates[name].settings)
        fitted = module.fit(fit, validation, settings, contract, params.seed)
        print(f"{name}: mean prediction {fitted.predict(test.features)[:, -1].mean():.4f}")


if __name__ == "__main__":
    main()
