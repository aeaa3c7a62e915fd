"""Stage `reference`: what drift will be measured against: the released model's own fit rows."""

from pathlib import Path

from takeoff import files, model, paths, reference
from takeoff import importance as importances
from takeoff.features import features
from takeoff.stage import read_config, run

GOLDEN_ROWS = 10  # whose answers the service repeats to be called ready


def main() -> None:
    contract, params = read_config()
    rows = files.read_rows(paths.split_rows("fit"))
    released = model.load(paths.RELEASED)
    probabilities = model.predict(released.session, features(rows, contract))

    profile = reference.profile(rows, probabilities, contract, params.reference.bins)
    owner = {"onnx_sha256": released.card["onnx_sha256"], "contract_hash": contract.hash}
    known = reference.golden(features(rows[:GOLDEN_ROWS], contract), released)
    sample = reference.sample(rows, probabilities, contract, params.reference.sample_rows, params.seed)

    importance = importances.importance(
        features(sample, contract), lambda asked: model.predict(released.session, asked), params.seed
    )

    def fill(folder: Path) -> None:
        files.write_json(folder / reference.PROFILE_FILE, owner | profile)
        files.write_json(folder / paths.GOLDEN.name, known)
        files.write_rows(
            folder / reference.HISTOGRAMS_FILE, reference.histograms(rows, probabilities, profile, contract)
        )
        files.write_rows(folder / reference.SAMPLE_FILE, sample)
        files.write_json(folder / importances.IMPORTANCE_FILE, importance)

    files.replace_folder(paths.REFERENCE, fill)
    print(f"Profiled {len(rows):,} rows, as {released.card['candidate']} sees them; kept {len(sample):,}.")


if __name__ == "__main__":
    run(main)
