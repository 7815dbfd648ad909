"""The network that is exported: from rows as a source has them to codes, logits and probabilities."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from stackae.data.preprocessing.scaling import FittedScaling, Scaling
from stackae.data.preprocessing.table import TablePreprocessing
from stackae.export.preprocessing import Divided, EachScaled, TableFront
from stackae.version import VERSION

if TYPE_CHECKING:
    from stackae.model import Model


@dataclass(frozen=True)
class Input:
    """An input of the network: its name, its type, and its shape without the rows."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]


class Network(nn.Module):
    """A model and its preprocessing in one, in evaluation mode.

    Takes what `inputs` lists, each (rows, *shape): arrays in the units of the source, in double precision if
    each feature is scaled on its own; of a table the numeric columns, NaN where a number is missing, and the
    categorical ones as `TableFront` takes them. Returns what `outputs` names: `logits`, divided by the
    model's temperature, and `probabilities` (rows, classes) if there is a classifier, and `code`, the
    pretrained features after the last layer.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.encoder, self.classifier = model.encoder, model.classifier
        self.temperature = model.temperature
        self.preprocessing, self.classes = model.preprocessing, model.classes
        preprocessing = model.preprocessing
        self.inputs = [Input("rows", torch.float32, preprocessing.shape)]
        self.front: nn.Module
        if isinstance(preprocessing, TablePreprocessing):
            self.front = TableFront(preprocessing)
            self.inputs = [
                Input(name, dtype, (columns,))
                for name, dtype, columns in (
                    ("numbers", torch.float64, len(preprocessing.numeric)),
                    ("categories", torch.int64, len(preprocessing.categories)),
                )
                if columns
            ]
        elif isinstance(preprocessing, FittedScaling):
            self.front = EachScaled(preprocessing)
            # As stackae scales them: what is small beside a feature's mean would be lost before.
            self.inputs = [Input("rows", torch.float64, preprocessing.shape)]
        else:
            assert isinstance(preprocessing, Scaling)
            self.front = Divided(preprocessing)
        self.outputs = ["code"] if self.classifier is None else ["logits", "probabilities", "code"]
        self.eval()

    # torch.export names the inputs of a .pt2 file after the parameter.
    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        x = self.front(*given)
        code = self.encoder(x)
        if self.classifier is None:
            return (code,)
        logits = self.classifier(x) / self.temperature
        return logits, logits.softmax(1), code

    def program(self) -> torch.export.ExportedProgram:
        """Trace the network with torch's exporter, for any number of rows."""
        example = tuple(torch.zeros((2, *input_.shape), dtype=input_.dtype) for input_ in self.inputs)
        rows = torch.export.Dim("n", min=1)
        with torch.no_grad():
            program = torch.export.export(self, example, dynamic_shapes=(tuple({0: rows} for _ in example),))
        for node in program.graph.nodes:
            # It would name the paths of this machine.
            node.meta.pop("stack_trace", None)
        return program

    def described(self) -> dict[str, str]:
        """Describe inputs and outputs in strings, each of them JSON but for the version.

        Of a table `numbers` and `categories` name the columns of these inputs, and `known` the categories of
        each column.
        """
        described: dict[str, object] = {
            "inputs": [input_.name for input_ in self.inputs],
            "outputs": self.outputs,
            "features": self.preprocessing.names(),
        }
        if self.classifier is not None:
            described["classes"] = self.classes
        if isinstance(self.preprocessing, TablePreprocessing):
            described["numbers"] = self.preprocessing.numeric
            described["categories"] = [categories.column for categories in self.preprocessing.categories]
            described["known"] = [list(categories.index) for categories in self.preprocessing.categories]
        return {"stackae": VERSION} | {
            name: json.dumps(value, ensure_ascii=False) for name, value in described.items()
        }
