"""Conversion of trees of tensors and plain values to JSON and a safetensors file, and back. Nothing is ever pickled."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.bool: "BOOL",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
}
"""Supported tensor types of checkpoints, with their names in safetensors."""


DEEPEST = 90
"""Maximum nesting depth of dicts, tuples and lists."""


def encode(tree: Any, path: tuple[str, ...], tensors: dict[str, Tensor]) -> Any:
    """Convert ``tree`` to JSON: plain values and lists unchanged, anything else as an object with one key, its kind."""
    where = "/".join(path)
    if len(path) > DEEPEST:
        raise TypeError(f"a checkpoint cannot hold what is nested more than {DEEPEST} deep, as at {where!r}")
    if isinstance(tree, Tensor):
        if tree.dtype not in DTYPES or tree.layout != torch.strided or tree.is_meta:
            raise TypeError(f"a checkpoint cannot hold the tensor at {where!r}: {tree.dtype}, {tree.layout}")
        name = where or "tensor"
        while name in tensors or name == "__metadata__":  # {"a": {"b": x}, "a/b": y}
            name += "'"
        tensors[name] = tree
        return {"tensor": name}
    if isinstance(tree, dict):
        for key in tree:
            if isinstance(key, bool) or not isinstance(key, str | int):
                raise TypeError(f"a checkpoint's keys are str or int, not {key!r} at {where!r}")
        return {"dict": [[k, encode(v, (*path, str(k)), tensors)] for k, v in tree.items()]}
    if isinstance(tree, tuple | list):
        nodes = [encode(v, (*path, str(i)), tensors) for i, v in enumerate(tree)]
        return {"tuple": nodes} if isinstance(tree, tuple) else nodes
    if isinstance(tree, float) and not math.isfinite(tree):
        return {"float": str(float(tree))}
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(f"a checkpoint holds tensors and plain values, no {type(tree).__name__} as at {where!r}")


def decode(node: Any, tensor: Callable[[str], Tensor]) -> Any:
    """Convert JSON back to a tree: the inverse of ``encode``."""
    if isinstance(node, list):
        return [decode(v, tensor) for v in node]
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensor(content)
    if kind == "dict":
        return {k: decode(v, tensor) for k, v in content}
    if kind == "tuple":
        return tuple(decode(v, tensor) for v in content)
    if kind == "float":
        return float(content)
    raise ValueError(f"unknown kind {kind!r}")


def safetensors(tensors: dict[str, Tensor]) -> Iterable[bytes | memoryview]:
    """Generate a safetensors file, tensor by tensor; the library's writer would hold a second copy of everything in
    memory.
    """
    # Widest first keeps every tensor aligned, as readers expect.
    ordered = sorted(tensors.items(), key=lambda item: -item[1].element_size())
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in ordered:
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": [*tensor.shape], "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for _, tensor in ordered:
        yield tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
