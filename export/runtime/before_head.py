"""Finds the features in an ONNX classifier: what its head, the last matrix product, is computed from.

The file itself gives logits or probabilities alone, so that servers need to know one output only. The features are
inside, and a copy of the graph in memory gives them as a second output.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from noah.errors import ArtifactError
from noah.runs.export_command import export_again

if TYPE_CHECKING:  # it takes its time to import, and only embeddings need it
    from onnx import GraphProto, NodeProto

_BEHIND = frozenset(("Add", "Cast", "Div", "Mul", "Softmax"))
"""What may lie between the head's product and the output: bias, scales, types, temperature and softmax."""
_PRODUCTS = frozenset(("Gemm", "MatMul", "MatMulInteger"))
_BEFORE = frozenset(("Cast", "DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"))
"""What may lie between the features and the product: a change of type."""


def name_of_features(graph: GraphProto) -> str:
    """The name of the tensor (B, d) that the head is computed from, in the type that the network computed it in.

    "" if the graph does not end in a matrix product.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    head = _product_behind(graph.output[0].name, made_by)
    if head is None:
        return ""
    name = head.input[0]
    while name in made_by and made_by[name].op_type in _BEFORE:
        name = made_by[name].input[0]
    return str(name)


def with_features(path: Path) -> bytes:
    """The file's graph with the features as a second output; weights in a file beside it stay there.

    Raises:
        ArtifactError: If the file cannot be read, or its graph does not end in a matrix product.
    """
    import onnx

    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's errors have no types
        raise ArtifactError(f"Cannot open {path}: {error}.", export_again(path.parent)) from error
    name = name_of_features(model.graph)
    if not name:
        raise ArtifactError(f"{path} does not end in a head, so it has no embeddings.", export_again(path.parent))
    model.graph.output.append(onnx.ValueInfoProto(name=name))  # the runtime infers its type
    return bytes(model.SerializeToString())


def _product_behind(name: str, made_by: dict[str, NodeProto]) -> NodeProto | None:
    """The last product that a tensor was computed from; None if something else comes between them."""
    node = made_by.get(name)
    if node is None:  # a weight or the input
        return None
    if node.op_type in _PRODUCTS:
        return node
    if node.op_type not in _BEHIND:
        return None
    found = (_product_behind(each, made_by) for each in node.input)
    return next((product for product in found if product is not None), None)
