"""What a model does on example inputs: every module call, and every function call whose result depends on the input.

A `TorchFunctionMode` sees F.relu, x.relu() and x + y alike, whoever calls them, also where torch.fx cannot trace.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from bigmodel_lab.explain.auditing.judge import Verdict, judge
from bigmodel_lab.explain.contract.restore import unchanged

__all__ = ["FunctionCall", "ModuleCall", "Record", "record"]

Key = tuple[int, int]  # a tensor at one time: its id, and how often it was written to


@dataclass(frozen=True, kw_only=True)
class FunctionCall:
    """One call of a function of torch on something that depends on the input."""

    path: str  # of the innermost module that was running, "" for the model itself
    module: nn.Module
    name: str  # such as "relu"
    operands: int  # tensors that depend on the input
    in_place: bool
    onto_leaf: bool  # in place, on what a module without children takes or gives
    silent: bool  # without a graph, as under torch.no_grad() or inside a hand-written autograd function
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class ModuleCall:
    """One call of a module on something that depends on the input."""

    path: str
    module: nn.Module
    takes: Key
    gives: Key
    shape: tuple[int, ...]  # of what it takes
    out: tuple[int, ...]  # of what it gives


@dataclass
class Record:
    """All calls of one run."""

    functions: list[FunctionCall] = field(default_factory=list)
    modules: list[ModuleCall] = field(default_factory=list)
    uses: dict[Key, list[nn.Module]] = field(default_factory=dict)  # who called functions that can send a gradient back
    own: list[str] = field(default_factory=list)  # names of hand-written autograd functions
    followed: bool = True  # the output depends on the input by calls that were seen


def record(model: nn.Module, inputs: Tensor) -> Record:
    """Run `model` once on `inputs` (B, ...), in evaluation mode, and leave it as it was."""
    with unchanged(model), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        model.eval()
        mode = _Mode(model, inputs)
        with mode:
            output = model(mode.inputs)
    found = mode.record
    found.followed = any(id(one) in mode.depends for one in tree_leaves(output))
    found.own = sorted(_own_functions(output))
    return found


class _Mode(TorchFunctionMode):
    """Follows what depends on the input; judges every such call before it runs."""

    def __init__(self, model: nn.Module, inputs: Tensor) -> None:
        super().__init__()
        self.record, self.kept, self.depends = Record(), [], set()
        self.stack, self.leaf_tensors = [("", model)], set()
        self.whole = not inputs.is_floating_point()  # token ids: what an embedding gives depends on the input
        self.inputs = inputs if self.whole else inputs.detach().requires_grad_().clone()  # may be written to
        if not self.whole:
            self._mark(self.inputs)
        for path, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            module.register_forward_pre_hook(self._enter(path), with_kwargs=True)
            module.register_forward_hook(self._leave, with_kwargs=True)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(function, "__name__", str(function))
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        operands = {id(one): one for one in tensors if id(one) in self.depends}
        if not operands:
            result = function(*args, **kwargs)
            if self.whole and name in ("embedding", "embedding_bag"):
                result = result if result.requires_grad else result.detach().requires_grad_().clone()
                self._mark(result)
            return result
        keys = {_key(one): one for one in operands.values()}
        in_place = _in_place(name, kwargs)
        path, module, *_ = self.stack[-1]
        target = args[0] if args and isinstance(args[0], Tensor) else None
        verdict = None
        if name != "__get__":
            verdict = judge(function, args, kwargs, set(operands), in_place)
        result = function(*args, **kwargs)
        changed = tree_leaves(target if result is None else result)
        results = [one for one in changed if isinstance(one, Tensor)]
        if not results or (not in_place and all(id(one) in operands for one in results)):
            return result  # a shape, a number; or its own operand, as dropout in evaluation mode
        if verdict is not None and verdict.constant:
            return result
        self._mark(*results)
        numbers = any(one.is_floating_point() for one in results)
        if numbers:
            for key in keys:
                self.record.uses.setdefault(key, []).append(module)
        if verdict is not None and numbers and not name.startswith(("empty", "new_empty")):
            call = FunctionCall(
                path=path,
                module=module,
                name=_plain(name),
                operands=len(operands),
                in_place=in_place,
                onto_leaf=in_place and id(target) in self.leaf_tensors,
                silent=not torch.is_grad_enabled(),
                verdict=verdict,
            )
            self.record.functions.append(call)
        return result

    def _mark(self, *tensors: Any) -> None:
        for one in tensors:
            if isinstance(one, Tensor):
                self.depends.add(id(one))
                self.kept.append(one)  # so that its id is not given to another

    def _enter(self, path: str):
        def hook(module, args, kwargs):
            with torch._C.DisableTorchFunction():
                given = _first((args, kwargs))
                self.stack.append((path, module, given, None if given is None else _key(given)))
                if given is not None and not _children(module):
                    self.leaf_tensors.add(id(given))
                    self.kept.append(given)

        return hook

    def _leave(self, module, args, kwargs, output):
        with torch._C.DisableTorchFunction():
            path, _, given, takes = self.stack.pop()
            gives = _first(output)
            if given is None or gives is None or id(given) not in self.depends:
                return
            if not _children(module):
                self.leaf_tensors.add(id(gives))
                self.kept.append(gives)
            call = ModuleCall(
                path=path,
                module=module,
                takes=takes,
                gives=_key(gives),
                shape=tuple(given.shape),
                out=tuple(gives.shape),
            )
            self.record.modules.append(call)


def _key(tensor: Tensor) -> Key:
    return id(tensor), tensor._version


def _first(found: Any) -> Tensor | None:
    return next((one for one in tree_leaves(found) if isinstance(one, Tensor)), None)


def _children(module: nn.Module) -> bool:
    return next(module.children(), None) is not None


def _in_place(name: str, kwargs: dict[str, Any]) -> bool:
    if name.startswith("__"):
        return name == "__setitem__" or (name.startswith("__i") and name not in ("__invert__", "__index__", "__int__"))
    return name.endswith("_") or bool(kwargs.get("inplace")) or kwargs.get("out") is not None


def _plain(name: str) -> str:
    """Return `add` for `__radd__`, `__iadd__` and `add_`."""
    if not name.startswith("__"):
        return name.strip("_") or name
    bare = name.strip("_")
    known = ("add", "sub", "mul", "truediv", "matmul", "pow", "floordiv", "mod")
    return bare[1:] if bare[1:] in known and bare[0] in "ri" else bare


def _own_functions(output: Any) -> set[str]:
    """Names of the autograd functions in the graph behind `output` that someone wrote by hand."""
    todo = [one.grad_fn for one in tree_leaves(output) if isinstance(one, Tensor) and one.grad_fn is not None]
    seen, found = set(), set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            found.add(type(node).__name__.removesuffix("Backward"))
        todo += [below for below, _ in node.next_functions]
    return found
