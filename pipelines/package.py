"""Stage `package`: the released model as a Bento in the store, and each known to the other by name."""

from takeoff import files, packaging, paths
from takeoff.errors import TakeoffError
from takeoff.model import MODEL_FILE
from takeoff.registry import Registry
from takeoff.stage import HERE, read_config, run


def main() -> None:
    contract, _ = read_config()
    bento = packaging.describe(contract, HERE)
    onnx_sha256 = bento.hashes[(paths.RELEASED / MODEL_FILE).as_posix()]
    registry = Registry(contract.name)

    number = _version(registry, onnx_sha256)
    built = packaging.ensure_built(bento, {"model_version": number, "onnx_sha256": onnx_sha256}, HERE)
    registry.tag_bento(onnx_sha256, bento.tag)

    files.write_json(paths.PACKAGE_REPORT, {"bento": bento.tag, "files": dict(bento.hashes)})
    print(f"{'Built' if built else 'Already in the store:'} {bento.tag}, version {number} of the model.")


def _version(registry: Registry, onnx_sha256: str) -> str:
    """Number of the released model's version, which the Bento is labelled with."""
    found = registry.version_with(onnx_sha256)
    if found is None:
        raise TakeoffError(
            f"MLflow at {registry.uri} has no version of the released model (ONNX {onnx_sha256[:12]}). "
            f"Run `dvc repro --force release`."
        )
    return found.number


if __name__ == "__main__":
    run(main)
