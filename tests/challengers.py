"""Challengers for a packed Bento: one that was trained, one that cannot be read, that fails, that is slow."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from takeoff import files, paths
from takeoff.contract import Contract
from takeoff.model import CARD_FILE, MODEL_FILE, OUTPUT
from tests.small_package import Packed

SIDE = 1_500  # of the matrices that a slow one multiplies
PRODUCTS = 400  # half a minute or so


def with_challenger(packed: Packed, folder: Path, challenger: Path) -> Packed:
    """A copy of a packed Bento, in a store of its own, with the challenger whose files are in a folder."""
    store = folder / "store"
    shutil.copytree(packed.store, store)
    bento = store / packed.bento.relative_to(packed.store)
    shutil.copytree(challenger, bento / "src" / paths.CHALLENGER)
    return packed._replace(store=store, bento=bento)


def unreadable(packed: Packed, folder: Path) -> Path:
    """The files of a challenger whose model is none."""
    files.write_bytes(folder / MODEL_FILE, b"no model")
    shutil.copy(packed.bento / "src" / paths.RELEASED / CARD_FILE, folder)
    return folder


def failing(packed: Packed, contract: Contract, folder: Path) -> Path:
    """The files of a challenger that loads well and fails at every prediction: it looks outside of a list."""
    number = contract.numbers[0]
    nodes = [
        helper.make_node("Mul", [number, "zero"], ["nothing"]),
        helper.make_node("Cast", ["nothing"], ["places"], to=TensorProto.INT64),
        helper.make_node("Sub", ["places", "far"], ["outside"]),
        helper.make_node("Gather", ["list", "outside"], ["looked up"]),
        helper.make_node("Concat", ["looked up"] * len(contract.target.classes), [OUTPUT], axis=1),
    ]
    constants = [
        helper.make_tensor("zero", TensorProto.FLOAT, [1, 1], [0]),
        helper.make_tensor("far", TensorProto.INT64, [1, 1], [1_000]),
        helper.make_tensor("list", TensorProto.FLOAT, [2], [0.5, 0.5]),
    ]
    return _write(packed, contract, folder, nodes, constants)


def slow(packed: Packed, contract: Contract, folder: Path) -> Path:
    """The files of a challenger that multiplies large matrices before it says 0.5 of everything."""
    number = contract.numbers[0]
    products = [
        helper.make_node("MatMul", [f"matrix {i}", f"matrix {i}"], [f"matrix {i + 1}"])
        for i in range(PRODUCTS)
    ]
    nodes = [
        helper.make_node("Mul", [number, "zero"], ["nothing"]),
        helper.make_node("ReduceSum", ["nothing"], ["one nothing"], keepdims=1),
        helper.make_node("Expand", ["one nothing", "shape"], ["matrix 0"]),
        *products,
        helper.make_node("ReduceSum", [f"matrix {PRODUCTS}"], ["sum"], keepdims=1),
        helper.make_node("Add", ["nothing", "half"], ["halves"]),
        helper.make_node("Add", ["halves", "sum"], ["probability"]),
        helper.make_node("Concat", ["probability"] * len(contract.target.classes), [OUTPUT], axis=1),
    ]
    constants = [
        helper.make_tensor("zero", TensorProto.FLOAT, [1, 1], [0]),
        helper.make_tensor("half", TensorProto.FLOAT, [1, 1], [0.5]),
        helper.make_tensor("shape", TensorProto.INT64, [2], [SIDE, SIDE]),
    ]
    return _write(packed, contract, folder, nodes, constants)


def _write(
    packed: Packed,
    contract: Contract,
    folder: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto],
) -> Path:
    """The files: a graph that takes the contract's columns, and the champion's card under another name."""
    inputs = [
        helper.make_tensor_value_info(
            name, TensorProto.FLOAT if column.is_number else TensorProto.STRING, ["rows", 1]
        )
        for name, column in contract.columns.items()
    ]
    output = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["rows", len(contract.target.classes)])
    graph = helper.make_graph(nodes, "challenger", inputs, [output], constants)
    champion = onnx.load(packed.bento / "src" / paths.RELEASED / MODEL_FILE)
    opsets = [helper.make_opsetid("", 18)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=champion.ir_version)
    onnx.checker.check_model(made)
    files.write_bytes(folder / MODEL_FILE, made.SerializeToString())
    card = files.read_json(packed.bento / "src" / paths.RELEASED / CARD_FILE)
    files.write_json(folder / CARD_FILE, card | {"candidate": "crafted"})
    return folder
