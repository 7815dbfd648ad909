"""A network as an ONNX file, which runs without Python and without torch."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import torch

from stackae.data.preprocessing.categories import Categories
from stackae.data.preprocessing.table import TablePreprocessing
from stackae.errors import DataError
from stackae.export.network import Network

OPSET = 20
_ML_OPSET = 4
_MOST_BYTES = 2**31 - 2**20
"""What one ONNX file can hold, less some room for all but the weights."""


def write_onnx(network: Network, path: Path) -> None:
    """Write the network for any number of rows, its description in `metadata_props`.

    The categories of a table are strings in this file, empty where one is missing. Raises `DataError` where
    the weights are too large for one file.
    """
    import onnx

    weights = sum(part.numel() * part.element_size() for part in network.state_dict().values())
    if weights > _MOST_BYTES:
        raise DataError(
            f"{path}: the weights take {weights:,} bytes, more than an ONNX file holds; use --to torch"
        )
    model = _translated(network)
    if isinstance(network.preprocessing, TablePreprocessing) and network.preprocessing.categories:
        _take_strings(model, network.preprocessing.categories)
    for node in model.graph.node:
        # Where in our code it comes from, at many times the length of the node itself.
        del node.metadata_props[:]
    del model.graph.value_info[:]
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.helper.set_model_props(model, network.described())
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _translated(network: Network) -> Any:
    level = logging.root.manager.disable
    # The exporter speaks of what it does, at length and to whoever listens.
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            exported = torch.onnx.export(
                network.program(),
                input_names=[
                    "codes" if input_.name == "categories" else input_.name for input_ in network.inputs
                ],
                output_names=network.outputs,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    finally:
        logging.disable(level)
    assert exported is not None
    return exported.model_proto


def _take_strings(model: Any, categories: list[Categories]) -> None:
    """Replace the input `codes` by strings, the input `categories` (rows, columns), and look codes up."""
    from onnx import TensorProto, helper

    graph = model.graph
    (codes,) = (value for value in graph.input if value.name == "codes")
    graph.input.remove(codes)
    graph.input.append(
        helper.make_tensor_value_info("categories", TensorProto.STRING, ["n", len(categories)])
    )
    nodes = []
    for index, column in enumerate(categories):
        place = f"categories_{index}_place"
        graph.initializer.append(helper.make_tensor(place, TensorProto.INT64, [1], [index]))
        nodes.append(helper.make_node("Gather", ["categories", place], [f"categories_{index}_text"], axis=1))
        # An empty string is a missing category, unless it is one itself.
        keys = list(column.index) if "" in column.index else [*column.index, ""]
        nodes.append(
            helper.make_node(
                "LabelEncoder",
                [f"categories_{index}_text"],
                [f"categories_{index}_code"],
                domain="ai.onnx.ml",
                keys_strings=keys,
                values_int64s=list(range(len(keys))),
                default_int64=column.unseen,
            )
        )
    looked_up = [f"categories_{index}_code" for index in range(len(categories))]
    nodes.append(helper.make_node("Concat", looked_up, ["codes"], axis=1))
    for node in reversed(nodes):
        graph.node.insert(0, node)
    if not any(opset.domain == "ai.onnx.ml" for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid("ai.onnx.ml", _ML_OPSET))
