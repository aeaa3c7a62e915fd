"""Makes, from a shipped ONNX file, a model that `mlflow models serve` takes."""

import sys
from pathlib import Path

import mlflow.onnx
import numpy as np
import onnx
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from takeoff.model import MODEL_FILE


def main() -> None:
    """Arguments: the folder with the ONNX file, and the folder to make."""
    model = onnx.load(Path(sys.argv[1]) / MODEL_FILE)
    # Tensors: MLflow turns a frame's columns into arrays of one dimension, which no graph of contract
    # columns takes, and under pandas 3 its columns of text into none that ONNX Runtime takes.
    columns = [
        TensorSpec(
            np.dtype("str" if entry.type.tensor_type.elem_type == onnx.TensorProto.STRING else "float32"),
            (-1, 1),
            entry.name,
        )
        for entry in model.graph.input
    ]
    mlflow.onnx.save_model(
        model,
        sys.argv[2],
        signature=ModelSignature(Schema(columns)),
        pip_requirements=["onnxruntime"],  # named, or MLflow would load the model to find them out
        onnx_execution_providers=["CPUExecutionProvider"],
    )


if __name__ == "__main__":
    main()
