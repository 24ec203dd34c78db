"""A torch.fx rewrite after which methods that hook modules are right: a module of its own for each activation call."""

from collections import Counter
from copy import deepcopy
from typing import Any

import torch
from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR
from captum.attr._utils.custom_modules import Addition_Module
from captum.attr._utils.lrp_rules import EpsilonRule
from torch import Tensor, fx, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.auditing.examples import example_for
from bigmodel_lab.explain.auditing.functions import BENDS, OUT_OF_PLACE, first, in_place, literal, module_for, name_of
from bigmodel_lab.explain.auditing.tracing import trace

__all__ = ["Step", "mend"]

LINEAR = ("add", "div", "mean", "mul", "neg", "sub", "sum", "truediv")  # of one tensor and numbers


class Step(nn.Module):
    """One linear function of one tensor, such as x.mean(1), as a layer: LRP takes it with the ε-rule."""

    def __init__(self, function: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        """Keep a function or the name of a tensor's method, its `args` with the tensor's place marked by `Step`."""
        super().__init__()
        self.function, self.args, self.kwargs, self.kept = function, args, kwargs, EpsilonRule()

    def forward(self, x: Tensor) -> Tensor:
        """Call the function on x."""
        args = [x if one is Step else one for one in self.args]
        if isinstance(self.function, str):
            return getattr(args[0], self.function)(*args[1:], **self.kwargs)
        return self.function(*args, **self.kwargs)

    @property
    def rule(self) -> EpsilonRule:
        """Return the rule that Captum's LRP looks for; it deletes it after each call, and finds a new one."""
        return self.kept

    @rule.deleter
    def rule(self) -> None:
        self.kept = EpsilonRule()


def mend(model: nn.Module, example_inputs: Tensor | None = None) -> nn.Module:
    """Return a copy of `model` with the same outputs on which DeepLIFT, guided backpropagation, LRP and shap are right.

    - Each call of an activation or pooling, functional, repeated or in place, becomes a module of its own, and reads a
      tensor that nothing else reads.
    - Sums of two parts, means and scalings become layers that LRP has a rule for; nn.Flatten and nn.Identity, for which
      it has none, become plain calls.

    What no rule handles stays as it is (attention, LayerNorm, recurrent layers): `audit` the copy. Weights are copied:
    what happens to one does not reach the other. Layers keep their paths, so an embedding or a layer of the copy is
    `mended.get_submodule(path)`; blocks around them are dissolved. The number of dimensions of the input is fixed to
    that of `example_inputs` (B, ...), made up from the first layer where there are none; outputs are held against the
    model's on them. `model` is untouched.

    Raises `InputError` where torch.fx cannot trace the model, naming what stopped it.
    """
    if not isinstance(model, nn.Module):
        raise InputError("an nn.Module", got=type(model).__name__)
    inputs = (example_for(model) if example_inputs is None else example_inputs).detach()
    copy = deepcopy(model)
    modes = {path: module.training for path, module in copy.named_modules()}
    copy.eval()
    graph = trace(copy, inputs)
    _Rewrite(copy, graph).run()
    mended = fx.GraphModule(copy, graph, class_name=type(model).__name__)
    mended.graph.eliminate_dead_code()
    mended.delete_all_unused_submodules()
    mended.graph.lint()
    mended.recompile()
    for node in mended.graph.nodes:
        node.meta.clear()
    mended.eval()
    _compare(copy, mended, inputs)
    for path, module in mended.named_modules():
        module.training = modes.get(path, modes[""])
    return mended


def _compare(model: nn.Module, mended: nn.Module, inputs: Tensor) -> None:
    with torch.no_grad():
        for part in (inputs, inputs[:1]):
            want, got = model(part.clone()), mended(part.clone())
            if not torch.equal(want, got):
                raise InputError(
                    "a model whose rewrite gives the same outputs",
                    got=f"outputs that differ by {(want - got).abs().max():.3g}",
                    hint="it writes in place to a part of a tensor, or looks at the batch's size: replace that by hand",
                )


class _Rewrite:
    """All changes to one graph."""

    def __init__(self, root: nn.Module, graph: fx.Graph) -> None:
        self.root, self.graph = root, graph
        self.calls: Counter[nn.Module] = Counter()
        self.depends = {node for node in graph.nodes if node.op == "placeholder"}
        for node in graph.nodes:
            if any(one in self.depends for one in node.all_input_nodes) and node.target != "detach":
                self.depends.add(node)

    def run(self) -> None:
        for node in list(self.graph.nodes):
            if node.op in ("call_function", "call_method", "call_module") and self._tensor(node):
                self._one(node)
        for node in list(self.graph.nodes):
            if node.op == "call_module":
                self._alone(node)

    def _one(self, node: fx.Node) -> None:
        module = self.root.get_submodule(node.target) if node.op == "call_module" else None
        name = "" if module else name_of(node)
        if in_place(node, module):
            self._later(node)
        if isinstance(module, nn.Flatten):
            self._call(node, torch.flatten, (node.args[0], module.start_dim, module.end_dim))
        elif isinstance(module, nn.Identity):
            node.replace_all_uses_with(node.args[0])
            self.graph.erase_node(node)
        elif module is not None:
            self.calls[module] += 1
            inplace = getattr(module, "inplace", False)
            if inplace or (self.calls[module] > 1 and isinstance(module, BENDS)):
                fresh = deepcopy(module)
                if inplace:
                    fresh.inplace = False
                self._module(node, fresh, (node.args[0],), self.calls[module] == 1)
        elif (fresh := module_for(node, name)) is not None:
            self._module(node, fresh, (first(node),))
        else:
            self._linear(node, name)

    def _linear(self, node: fx.Node, name: str) -> None:
        """Turn a sum of two parts into Captum's layer, and another linear step into one of ours."""
        function = OUT_OF_PLACE.get(node.target, node.target) if node.op == "call_function" else name
        given = [one for one in node.all_input_nodes]
        numbers = [*node.args, *node.kwargs.values()]
        plain = all(isinstance(one, fx.Node) or literal(one) for one in numbers)
        two = name == "add" and len(node.args) == 2 and not node.kwargs and len(given) == 2
        if two and all(one in self.depends and self._tensor(one) for one in given):
            self._module(node, Addition_Module(), node.args)
        elif (
            name in LINEAR and plain and len(given) == 1 and node.args.count(given[0]) == 1 and given[0] in self.depends
        ):
            args = tuple(Step if one is given[0] else one for one in node.args)
            if not (name in ("div", "truediv") and args[0] is not Step):
                kept = {key: value for key, value in node.kwargs.items() if key != "out"}
                self._module(node, Step(function, args, kept), (given[0],))
        elif node.op == "call_method" and node.target != name and hasattr(Tensor, name):
            node.target = name  # x.mul_(y) as x.mul(y)
        elif node.op == "call_function":
            node.target = function

    def _later(self, node: fx.Node) -> None:
        """Let everything after an in-place call read its result, as it would read the tensor that was written to."""
        written, after = first(node), False
        for other in self.graph.nodes:
            if after and written in other.all_input_nodes:
                other.replace_input_with(written, node)
            after = after or other is node

    def _alone(self, node: fx.Node) -> None:
        """Give a module with a rule tensors that no other hook sits on."""
        ruled = type(self.root.get_submodule(node.target)) in SUPPORTED_NON_LINEAR
        for given in node.all_input_nodes:
            if given in self.depends and (ruled or len(given.users) > 1):
                with self.graph.inserting_before(node):
                    copy = self.graph.call_method("clone", (given,))
                node.replace_input_with(given, copy)

    def _call(self, node: fx.Node, function: Any, args: tuple) -> None:
        node.op, node.target, node.args, node.kwargs = "call_function", function, args, {}

    def _module(self, node: fx.Node, module: nn.Module, args: tuple, same_place: bool = False) -> None:
        """Make `node` a call of `module`, placed where the call stands in the code."""
        path = node.target if same_place else self._path(node, module)
        module.train(self.root.training)
        self.root.set_submodule(path, module)
        node.op, node.target, node.args, node.kwargs = "call_module", path, args, {}

    def _path(self, node: fx.Node, module: nn.Module) -> str:
        if node.op == "call_module":
            owner = node.target.rpartition(".")[0]
        else:
            owner = next(reversed(node.meta.get("nn_module_stack", {"": None})), "")
            owner = owner.removeprefix("model").removeprefix(".")
        name = type(module).__name__.lower()
        taken = self.root.get_submodule(owner)
        number = next(i for i in range(1, 10**6) if not hasattr(taken, f"{name}_{i}"))
        return f"{owner}.{name}_{number}".removeprefix(".")

    def _tensor(self, node: fx.Node) -> bool:
        value = node.meta.get("value")
        return node in self.depends and isinstance(value, Tensor) and value.is_floating_point()
