"""Makes, from a shipped ONNX file, two models that `mlflow models serve` takes.

`rows`: a frame of contract rows with a signature of columns, so that MLflow checks each one, as the service
does. `tensors`: the bare graph with a signature of tensors, which checks no more than shapes and types.
"""

import sys
from pathlib import Path

import mlflow.onnx
import mlflow.pyfunc
import numpy as np
import onnx
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from takeoff.model import MODEL_FILE


def main() -> None:
    """Arguments: the folder with the shipped model, and the folder in which to make `rows` and `tensors`."""
    shipped, made = Path(sys.argv[1]), Path(sys.argv[2])
    model = onnx.load(shipped / MODEL_FILE)
    _save_rows(model, shipped, made / "rows")
    _save_tensors(model, made / "tensors")


def _save_rows(model: onnx.ModelProto, shipped: Path, folder: Path) -> None:
    columns = [
        ColSpec("string" if _is_text(entry) else "double", entry.name, required=False)
        for entry in model.graph.input
    ]
    mlflow.pyfunc.save_model(
        folder,
        python_model=str(Path(__file__).with_name("mlflow_rows.py")),
        artifacts={"model": str(shipped)},
        signature=ModelSignature(Schema(columns)),
        pip_requirements=["onnxruntime"],
    )


def _is_text(entry: onnx.ValueInfoProto) -> bool:
    return bool(entry.type.tensor_type.elem_type == onnx.TensorProto.STRING)


def _save_tensors(model: onnx.ModelProto, folder: Path) -> None:
    # Tensors: MLflow turns a frame's columns into arrays of one dimension, which no graph of contract
    # columns takes, and under pandas 3 its columns of text into none that ONNX Runtime takes.
    columns = [
        TensorSpec(
            np.dtype("str" if _is_text(entry) else "float32"),
            (-1, 1),
            entry.name,
        )
        for entry in model.graph.input
    ]
    mlflow.onnx.save_model(
        model,
        folder,
        signature=ModelSignature(Schema(columns)),
        pip_requirements=["onnxruntime"],  # named, or MLflow would load the model to find them out
        onnx_execution_providers=["CPUExecutionProvider"],
    )


if __name__ == "__main__":
    main()
