"""Pieces of ONNX graphs that several candidates share, and their names."""

from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper

from takeoff.contract import Contract
from takeoff.model import OUTPUT

# What every file is written for: the newest versions that ONNX Runtime, skl2onnx and torch all know.
OPSET = 18
ML_OPSET = 3
IR_VERSION = 9
PRODUCER = "takeoff"


def column_inputs(contract: Contract, names: Sequence[str] | None = None) -> list[onnx.ValueInfoProto]:
    """One graph input per contract column, shape (n, 1): float32 for numbers, string for categories."""
    return [
        helper.make_tensor_value_info(
            name, TensorProto.FLOAT if contract.columns[name].is_number else TensorProto.STRING, ["rows", 1]
        )
        for name in (names or contract.columns)
    ]


def probabilities_output(classes: int) -> onnx.ValueInfoProto:
    """The one graph output, float32, shape (n, classes)."""
    return helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["rows", classes])


def lookup(source: str, target: str, keys: Sequence[str] | Sequence[float]) -> onnx.NodeProto:
    """A node that turns a value into its position in `keys`, from 1; what is not there becomes 0."""
    texts = {"keys_strings": list(keys)} if keys and isinstance(keys[0], str) else {"keys_floats": list(keys)}
    return helper.make_node(
        "LabelEncoder",
        [source],
        [target],
        domain="ai.onnx.ml",
        values_int64s=list(range(1, len(keys) + 1)),
        default_int64=0,
        **texts,
    )


def make_model(graph: onnx.GraphProto) -> onnx.ModelProto:
    """A checked model of the project's versions."""
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name=PRODUCER)
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return model
