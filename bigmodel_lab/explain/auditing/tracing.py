"""torch.fx tracing that can answer questions about shapes: each node also carries its value on example inputs.

torch.fx records what a model does to a stand-in for its input. Where code asks `x.ndim != 4` or unpacks `x.shape`, the
stand-in answers from the example; the answer is fixed in what comes out. Where code asks for values, tracing stops.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn

from bigmodel_lab.errors import InputError

__all__ = ["trace"]


def trace(model: nn.Module, inputs: Tensor) -> fx.Graph:
    """Return the graph of `model(inputs)`, its layers those of torch.nn, by their paths in `model`.

    Each node has its value in `node.meta["value"]`. Raises `InputError` naming the module that cannot be traced.
    """
    tracer, root = _Tracer(inputs), _One(model)
    try:
        with torch.no_grad():
            graph = tracer.trace(root)
    except Exception as error:
        text = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(
            "a model that torch.fx can trace: no branches on values, no isinstance or float() of what it computes",
            got=f"{tracer.place or type(model).__name__} stops it: {type(error).__name__}: {text[:200]}",
            hint="replace the functional calls that explain.audit lists by modules, each used once; wrap a helper that "
            "only checks by torch.fx.wrap; or use a method that needs no rules, such as integrated_gradients",
        ) from error
    for node in graph.nodes:
        if node.op == "get_attr" and not node.target.startswith("model."):  # a tensor that the forward makes itself
            model.register_buffer(node.target, getattr(root, node.target), persistent=False)
        elif node.op in ("call_module", "get_attr"):
            node.target = node.target.removeprefix("model.")
    return graph


class _One(nn.Module):
    """The model as a function of its first argument alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class _Proxy(fx.Proxy):
    def __len__(self) -> int:
        return len(self.node.meta["value"])


class _Tracer(fx.Tracer):
    def __init__(self, inputs: Tensor) -> None:
        super().__init__()
        self.inputs, self.place, self.computing = inputs, "", False

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def create_node(self, kind, target, args, kwargs, *more, **named):
        node = super().create_node(kind, target, args, kwargs, *more, **named)
        if kind != "output":
            self.computing = True
            node.meta["value"] = self._value(node)
            self.computing = False
        return node

    def call_module(self, m, forward, args, kwargs):
        if self.computing:  # a layer calls another one while its value is computed
            return forward(*args, **kwargs)
        before, self.place = self.place, self.path_of_module(m).removeprefix("model").removeprefix(".")
        result = super().call_module(m, forward, args, kwargs)
        self.place = before  # after an error it stays where the error is
        return result

    def getattr(self, attr, attr_val, parameter_proxy_cache):
        return attr_val if self.computing else super().getattr(attr, attr_val, parameter_proxy_cache)

    def to_bool(self, obj: fx.Proxy) -> bool:
        value = obj.node.meta["value"]
        if isinstance(value, Tensor):
            raise fx.proxy.TraceError("a branch on values that the model computes")
        return bool(value)

    def iter(self, obj: fx.Proxy) -> Iterator[fx.Proxy]:
        value = obj.node.meta["value"]
        if isinstance(value, Tensor | tuple | list):
            return iter([obj[i] for i in range(len(value))])
        return super().iter(obj)

    def _value(self, node: fx.Node):
        if node.op == "placeholder":
            return self.inputs.clone()
        if node.op == "get_attr":
            value = self.root
            for name in node.target.split("."):
                value = getattr(value, name)
            return value
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda one: one.meta["value"])
        if node.op == "call_module":
            return self.root.get_submodule(node.target)(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], node.target)(*args[1:], **kwargs)
        return node.target(*args, **kwargs)
