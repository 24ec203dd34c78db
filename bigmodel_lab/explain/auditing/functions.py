"""Functions of torch as nodes of a graph: plain names, whether they write in place, the modules that equal them."""

import operator
from typing import Any

import torch
from torch import fx, nn

__all__ = ["BENDS", "OUT_OF_PLACE", "first", "in_place", "literal", "module_for", "name_of"]

# Name of a function -> the module that does the same, and its arguments after the input, in order.
_POOL = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVERAGE = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
MODULES: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "adaptive_avg_pool1d": (nn.AdaptiveAvgPool1d, ("output_size",)),
    "adaptive_avg_pool2d": (nn.AdaptiveAvgPool2d, ("output_size",)),
    "adaptive_avg_pool3d": (nn.AdaptiveAvgPool3d, ("output_size",)),
    "avg_pool1d": (nn.AvgPool1d, _AVERAGE),
    "avg_pool2d": (nn.AvgPool2d, (*_AVERAGE, "divisor_override")),
    "avg_pool3d": (nn.AvgPool3d, (*_AVERAGE, "divisor_override")),
    "celu": (nn.CELU, ("alpha",)),
    "elu": (nn.ELU, ("alpha",)),
    "gelu": (nn.GELU, ("approximate",)),
    "hardsigmoid": (nn.Hardsigmoid, ()),
    "hardswish": (nn.Hardswish, ()),
    "hardtanh": (nn.Hardtanh, ("min_val", "max_val")),
    "leaky_relu": (nn.LeakyReLU, ("negative_slope",)),
    "logsigmoid": (nn.LogSigmoid, ()),
    "max_pool1d": (nn.MaxPool1d, _POOL),
    "max_pool2d": (nn.MaxPool2d, _POOL),
    "max_pool3d": (nn.MaxPool3d, _POOL),
    "mish": (nn.Mish, ()),
    "relu": (nn.ReLU, ()),
    "relu6": (nn.ReLU6, ()),
    "selu": (nn.SELU, ()),
    "sigmoid": (nn.Sigmoid, ()),
    "silu": (nn.SiLU, ()),
    "softmax": (nn.Softmax, ("dim",)),
    "softplus": (nn.Softplus, ("beta", "threshold")),
    "tanh": (nn.Tanh, ()),
}
BENDS = tuple(kind for kind, _ in MODULES.values())
NUMBER = int | float | bool | str | None

OUT_OF_PLACE = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


def name_of(node: fx.Node) -> str:
    """Return the plain name of a function: `add` for operator.iadd, torch.add and x.add_()."""
    target = OUT_OF_PLACE.get(node.target, node.target)
    name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    return name.strip("_") if not name.startswith("__") else name


def in_place(node: fx.Node, module: nn.Module | None) -> bool:
    """Say whether a call, of `module` or of a function, writes to its first argument."""
    if module is not None:
        return bool(getattr(module, "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    written = name.endswith("_") and not name.endswith("__")
    return node.target in OUT_OF_PLACE or written or bool(node.kwargs.get("inplace"))


def first(node: fx.Node) -> fx.Node:
    """Return the first argument of a call."""
    return node.args[0] if node.args else node.kwargs["input"]


def module_for(node: fx.Node, name: str) -> nn.Module | None:
    """Return a module that does what a functional call does, or None."""
    rest, named = node.args[1:], {key: value for key, value in node.kwargs.items() if key not in ("input", "inplace")}
    if name in ("clamp", "clamp_min", "clip"):
        low = named.pop("min", rest[0] if rest else None)
        high = named.pop("max", rest[1] if len(rest) > 1 else None)
        return nn.ReLU() if high is None and isinstance(low, int | float) and low == 0 else None
    if name not in MODULES:
        return None
    kind, order = MODULES[name]
    given = dict(zip(order, rest, strict=False)) | {key: value for key, value in named.items() if key in order}
    others = {key: value for key, value in named.items() if key not in order and key != "_stacklevel"}
    known = all(literal(value) for value in given.values()) and all(value is None for value in others.values())
    known = known and not given.get("return_indices") and isinstance(first(node), fx.Node)
    if len(rest) > len(order) or not known or (name == "softmax" and given.get("dim") is None):
        return None
    if given.get("stride", 0) is None or given.get("stride", 0) == []:
        given.pop("stride")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()})


def literal(value: Any) -> bool:
    """Say whether a value stands in the code as it is: no tensor, and nothing computed."""
    if isinstance(value, list | tuple):
        return all(literal(one) for one in value)
    return isinstance(value, NUMBER | torch.dtype)
