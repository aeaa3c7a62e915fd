"""Fitted candidates to one ONNX file each, with the calibration in it and a proof that it says the same.

Heavy libraries are imported where they are used: a candidate pays only for its own.
"""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from takeoff.calibration import SMALLEST, Calibration
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.graph import (
    IR_VERSION,
    ML_OPSET,
    OPSET,
    PRODUCER,
    column_inputs,
    lookup,
    make_model,
    probabilities_output,
)
from takeoff.model import OUTPUT

if TYPE_CHECKING:
    import torch

# Names inside the graph hold a slash, which no column's may, so that they never meet.
CODES, NUMBERS = "columns/codes", "columns/numbers"
SCORES = "calibration/scores"
Decide = Callable[[npt.NDArray[np.floating]], npt.NDArray[np.int64]]


class Parity(NamedTuple):
    """How an ONNX file compares with the object it was made from."""

    rows: int
    largest_difference: float
    flipped: int


def from_sklearn(pipeline: Any, contract: Contract) -> onnx.ModelProto:
    """A graph of a fitted scikit-learn classifier that takes a frame of contract columns.

    Raises:
        TakeoffError: a step of the pipeline has no ONNX form.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

    types = {True: FloatTensorType, False: StringTensorType}
    inputs = [(name, types[column.is_number]([None, 1])) for name, column in contract.columns.items()]
    try:
        model = convert_sklearn(
            pipeline,
            name="pipeline",
            initial_types=inputs,
            options={id(pipeline): {"zipmap": False}},
            target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
        )
    except (MissingConverter, MissingShapeCalculator, NotImplementedError, RuntimeError) as error:
        # A step with an option that it has no form for is a plain RuntimeError.
        reason = str(error).strip().splitlines()[0]
        raise TakeoffError(f"This pipeline cannot be written as ONNX: {reason}") from None
    # The label is the release's business: it depends on what errors cost.
    del model.graph.output[0]
    return model


def from_torch(
    network: "torch.nn.Module", vocabularies: Mapping[str, Sequence[str]], contract: Contract
) -> onnx.ModelProto:
    """A graph of a torch module together with the look-up of its categories.

    Args:
        network: on the CPU; takes codes (int64, (n, categories)) and numbers (float32, (n, numbers)) and
            gives probabilities (float32, (n, classes)).
        vocabularies: the values of each category in the order of their codes, which start at 1.
        contract: names and order of the columns.
    """
    import torch

    # The exporter reports on operators and private interfaces that are not used here.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    rows = torch.export.Dim("rows")
    codes = torch.zeros(2, len(contract.categories), dtype=torch.int64)
    numbers = torch.zeros(2, len(contract.numbers), dtype=torch.float32)
    with warnings.catch_warnings(action="ignore"):
        program = torch.onnx.export(
            network.eval(),
            (codes, numbers),
            input_names=["codes", "numbers"],
            output_names=[OUTPUT],
            dynamic_shapes=({0: rows}, {0: rows}),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    # Through bytes: the exporter's own object carries notes on where in the source each node came from.
    body = onnx.load_from_string(program.model_proto.SerializeToString())
    body.ir_version = IR_VERSION
    del body.opset_import[:]
    body.opset_import.extend([helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)])
    head = make_model(
        helper.make_graph(
            [
                *(lookup(name, f"columns/{name}", list(known)) for name, known in vocabularies.items()),
                helper.make_node("Concat", [f"columns/{name}" for name in vocabularies], [CODES], axis=1),
                helper.make_node("Concat", contract.numbers, [NUMBERS], axis=1),
            ],
            "columns",
            column_inputs(contract),
            [
                helper.make_tensor_value_info(CODES, TensorProto.INT64, ["rows", len(vocabularies)]),
                helper.make_tensor_value_info(NUMBERS, TensorProto.FLOAT, ["rows", len(contract.numbers)]),
            ],
        )
    )
    return compose.merge_models(
        head, body, io_map=[(CODES, "codes"), (NUMBERS, "numbers")], prefix2="network/"
    )


def with_calibration(scored: onnx.ModelProto, calibration: Calibration, contract: Contract) -> bytes:
    """The file that ships: `scored` followed by its calibration, without traces of where it was made.

    The same inputs give the same bytes.
    """
    scores = onnx.ModelProto()
    scores.CopyFrom(scored)
    _rename(scores.graph, scores.graph.output[0].name, SCORES)
    # Rounded to float32: what an optimiser finds differs beyond that from one processor, or one Python, to
    # the next, and the file would with it.
    constants = {
        "calibration/smallest": np.array(SMALLEST, "float32").astype("float64"),
        "calibration/slope": np.array(calibration.slope, "float32").astype("float64"),
        "calibration/bias": calibration.bias.astype("float32").astype("float64"),
    }
    # In float64: ONNX Runtime's logarithm of several rows at once differs in the last bit from that of one
    # row, and what a row is answered must not depend on which others are asked at the same moment.
    nodes = [
        helper.make_node("Cast", [SCORES], ["calibration/scores64"], to=TensorProto.DOUBLE),
        helper.make_node("Max", ["calibration/scores64", "calibration/smallest"], ["calibration/clipped"]),
        helper.make_node("Log", ["calibration/clipped"], ["calibration/logs"]),
        helper.make_node("Mul", ["calibration/logs", "calibration/slope"], ["calibration/sloped"]),
        helper.make_node("Add", ["calibration/sloped", "calibration/bias"], ["calibration/logits"]),
        helper.make_node("Softmax", ["calibration/logits"], ["calibration/probabilities"], axis=1),
        helper.make_node("Cast", ["calibration/probabilities"], [OUTPUT], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        [*scores.graph.node, *nodes],
        contract.name,
        column_inputs(contract),
        [probabilities_output(len(contract.target.classes))],
        [*scores.graph.initializer, *(numpy_helper.from_array(v, k) for k, v in constants.items())],
    )
    for node in graph.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]
    model = make_model(graph)
    model.producer_name = PRODUCER
    return bytes(model.SerializeToString(deterministic=True))


def parity(fitted: npt.NDArray[np.floating], exported: npt.NDArray[np.floating], decide: Decide) -> Parity:
    """Compare two sets of probabilities of the same rows, both of shape (n, classes).

    Args:
        fitted: from the fitted object.
        exported: from its ONNX file.
        decide: turns probabilities into the decision of each row.
    """
    return Parity(
        rows=len(fitted),
        largest_difference=float(np.abs(fitted - exported).max()),
        flipped=int((decide(fitted) != decide(exported)).sum()),
    )


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
