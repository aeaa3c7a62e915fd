"""Stage `package`: the released model as a Bento in the store, and each known to the other by name."""

from takeoff import files, packaging, paths
from takeoff.model import CARD_FILE
from takeoff.registry import Registry
from takeoff.stage import HERE, read_config, run


def main() -> None:
    contract, _ = read_config()
    bento = packaging.describe(contract, HERE)
    card = files.read_json(paths.RELEASED / CARD_FILE)
    registry = Registry(contract.name)

    released = registry.released(card)
    labels = {"model_version": released.number, "onnx_sha256": card["onnx_sha256"]}
    built = packaging.ensure_built(bento, labels, HERE)
    registry.tag_bento(released, bento.tag)

    files.write_json(paths.PACKAGE_REPORT, {"bento": bento.tag, "files": dict(bento.hashes)})
    print(
        f"{'Built' if built else 'Already in the store:'} {bento.tag}, "
        f"version {released.number} of the model."
    )


if __name__ == "__main__":
    run(main)
