"""An ONNX graph as it is put together: nodes, constants, and the operator sets that they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from base.errors import EverfitError

# What onnxruntime has known for years: an old one at the edge should be able to read the file.
OPERATORS = {"": 17, "ai.onnx.ml": 3}
_IR_VERSION = 8

NUMERIC = "numeric"
"""The input of numeric features, float32 of shape (n_rows, n_numeric)."""

CATEGORICAL = "categorical"
"""The input of categories, text of shape (n_rows, n_categorical)."""

PROBABILITIES = "probabilities"
"""The answer of a classifier, float32 of shape (n_rows, n_classes)."""

VALUE = "value"
"""The answer of a regressor, float32 of shape (n_rows,)."""


class NotCompiled(EverfitError):
    """A model has no compiled form; the message says what stands in the way."""


class Graph:
    """Nodes and constants of one model."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._count = 0

    def add(
        self, operator: str, inputs: Sequence[str], *, domain: str = "", name: str | None = None, **more: Any
    ) -> str:
        """Add a node with one output, and return that output's name."""
        from onnx import helper

        output = name or self._name(operator)
        self.nodes.append(helper.make_node(operator, list(inputs), [output], domain=domain, **more))
        return output

    def constant(self, values: object, kind: Any) -> str:
        """Add a constant array, and return its name."""
        from onnx import numpy_helper

        name = self._name("constant")
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=kind), name))
        return name

    def build(
        self, *, n_numeric: int, n_categorical: int, output: str, width: int | None, notes: Mapping[str, str]
    ) -> Any:
        """Make the model, checked.

        Parameters
        ----------
        width : int or None
            How many numbers an answer has; None is one, without an axis of its own.
        notes : mapping
            What the file says about itself.
        """
        import onnx
        from onnx import TensorProto, helper

        inputs = [
            helper.make_tensor_value_info(name, kind, ["rows", n_columns])
            for name, kind, n_columns in (
                (NUMERIC, TensorProto.FLOAT, n_numeric),
                (CATEGORICAL, TensorProto.STRING, n_categorical),
            )
            if n_columns
        ]
        shape: list[str | int] = ["rows"] if width is None else ["rows", width]
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)]
        graph = helper.make_graph(self.nodes, "everfit", inputs, outputs, initializer=self.constants)
        sets = [helper.make_opsetid(domain, version) for domain, version in OPERATORS.items()]
        model = helper.make_model(graph, opset_imports=sets, ir_version=_IR_VERSION, producer_name="everfit")
        helper.set_model_props(model, dict(notes))
        onnx.checker.check_model(model)
        return model

    def _name(self, operator: str) -> str:
        self._count += 1
        return f"{operator.lower()}_{self._count}"
