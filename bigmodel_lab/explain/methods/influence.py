"""TracIn: which training examples pushed the model towards an answer, and which away from it.

Source: Pruthi, Liu, Kale & Sundararajan (2020), Estimating training data influence by tracing gradient descent,
arXiv 2002.08484, equation (1) of section 3.2 (TracInCP).
Dimension letters: B examples that are asked about, N training examples, P parameters.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import Explanation, checks
from bigmodel_lab.explain.contract.restore import unchanged

__all__ = ["self_influence", "tracin"]

Loss = Callable[[Tensor, Tensor], Tensor]  # outputs (1, ...), targets (1, ...) -> a number
Checkpoints = Sequence[Mapping[str, Tensor]]


def tracin(
    forward: nn.Module,
    inputs: Tensor,
    target: Tensor,
    *,
    training: tuple[Tensor, Tensor],
    checkpoints: Checkpoints | None = None,
    rates: Sequence[float] | float = 1.0,
    loss: Loss = F.cross_entropy,
    parameters: Sequence[str] | None = None,
    chunk: int = 64,
) -> Explanation:
    """Return Σ_c η_c ∇loss(example) · ∇loss(training example) over the checkpoints c: values (B, N).

    A positive value: a step on that training example lowers the loss of the example. `training` holds inputs (N, ...)
    and targets (N, ...), `checkpoints` state dicts saved during training (None: the model as it is), `rates` their
    learning rates. `parameters` names those that count, whole or by the start of their names (("head.",): the last
    layer alone); None takes all that train. Gradients of `chunk` examples are kept at once, and those of all B.
    Backward hooks of the model rest meanwhile: torch.func cannot follow them.
    """
    with _Gradients(forward, checkpoints, rates, loss, parameters, chunk) as of:
        (x, y), (x_train, y_train) = _pair(inputs, target, "inputs"), _pair(*training, "training examples")
        values = torch.zeros(len(x), len(x_train), dtype=of.dtype, device=x.device)
        for rate, weights in of.checkpoints():
            asked = torch.cat([of(weights, *part) for part in _parts(x, y, chunk)])  # (B, P)
            rows = [asked @ of(weights, *part).T for part in _parts(x_train, y_train, chunk)]
            values += rate * torch.cat(rows, 1)
        return of.explanation("tracin", values)


def self_influence(
    forward: nn.Module,
    inputs: Tensor,
    target: Tensor,
    *,
    checkpoints: Checkpoints | None = None,
    rates: Sequence[float] | float = 1.0,
    loss: Loss = F.cross_entropy,
    parameters: Sequence[str] | None = None,
    chunk: int = 64,
) -> Explanation:
    """Return Σ_c η_c |∇loss|² of each training example, values (B,): high for wrong labels and rare cases.

    Section 4.1 of the paper; the arguments are those of `tracin`.
    """
    with _Gradients(forward, checkpoints, rates, loss, parameters, chunk) as of:
        x, y = _pair(inputs, target, "inputs")
        values = torch.zeros(len(x), dtype=of.dtype, device=x.device)
        for rate, weights in of.checkpoints():
            values += rate * torch.cat([of(weights, *part).square().sum(1) for part in _parts(x, y, chunk)])
        return of.explanation("self_influence", values)


class _Gradients:
    """Gradients of the loss of each example, all examples of a chunk at once where the model allows it."""

    def __init__(self, model, checkpoints, rates, loss, parameters, chunk) -> None:
        if not isinstance(model, nn.Module):
            raise InputError("a model with parameters (an nn.Module)", got=type(model).__name__)
        if not isinstance(chunk, int) or chunk < 1:
            raise InputError("a chunk of at least 1 example", got=repr(chunk))
        self.model, self.loss, self.started, self.spent, self.notes = model, loss, time.perf_counter(), 0, []
        own = dict(model.named_parameters())
        states = [own] if checkpoints is None else list(checkpoints)
        self.names = [
            n for n, p in own.items() if (p.requires_grad if parameters is None else n.startswith(tuple(parameters)))
        ]
        if not self.names:
            got = "none that train" if parameters is None else f"{list(parameters)}"
            raise InputError(f"names of parameters, such as {next(iter(own), 'none: it has none')}", got=got)
        self.dtype = own[self.names[0]].dtype
        self.states, self.rates = states, _rates(rates, len(states))
        missing = [n for state in states for n in own if n not in state or state[n].shape != own[n].shape]
        if missing:
            raise InputError(
                "checkpoints of this model (state dicts)",
                got=f"{missing[0]} missing or of another shape",
                hint="{name: value.clone() for name, value in model.state_dict().items()} during training",
            )
        one = grad(self._one)
        self.together, self.alone = vmap(one, in_dims=(None, None, 0, 0)), one

    def __enter__(self) -> "_Gradients":
        with ExitStack() as stack:
            stack.enter_context(unchanged(self.model))
            stack.enter_context(torch.inference_mode(False))
            for module in self.model.modules():
                module._backward_hooks.clear()  # `unchanged` puts them back
                module._backward_pre_hooks.clear()
            self.restore = stack.pop_all()
        return self

    def __exit__(self, *error) -> None:
        self.restore.__exit__(*error)

    def checkpoints(self):
        """Yield the learning rate and the state of each checkpoint, split into what counts and the rest."""
        place = next(self.model.parameters()).device
        for rate, state in zip(self.rates, self.states, strict=True):
            state = {name: _plain(value).to(place) for name, value in state.items()}
            counted = {name: state[name] for name in self.names}
            yield rate, (counted, {name: value for name, value in state.items() if name not in counted})

    def _one(self, counted, rest, x, y):
        output = functional_call(self.model, {**rest, **counted}, (x.unsqueeze(0),))
        return self.loss(output, y.unsqueeze(0))

    def __call__(self, weights, x: Tensor, y: Tensor) -> Tensor:
        """Return the gradients of examples x (b, ...), y (b, ...) as rows (b, P)."""
        checks.check_inputs("tracin", x, None, discrete=True)
        checks.check_model(self.model, x, None)
        x, y = _plain(x), _plain(y)
        self.spent += len(x)
        if self.together is not None:
            try:
                gradients = self.together(*weights, x, y)
            except (RuntimeError, ValueError, IndexError, NotImplementedError) as error:
                self._explain(weights, x, y, error)
                self.together = None
            else:
                return self._rows(gradients, len(x))
        return torch.cat([self._rows(self.alone(*weights, *one), 1) for one in zip(x, y, strict=True)])

    def _explain(self, weights, x, y, error) -> None:
        """Find out whether only vmap failed, each time: else the fault is in the loss, the targets or the model."""
        try:
            with torch.no_grad():
                values = [self._one(*weights, *one) for one in zip(x, y, strict=True)]
        except (RuntimeError, ValueError, IndexError) as fault:
            got = f"{type(fault).__name__}: {str(fault).splitlines()[0][:120]}"
            raise InputError("a loss that takes outputs (1, ...) and targets (1, ...)", got=got) from error
        if not isinstance(value := values[0], Tensor) or value.ndim:
            got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise InputError("a loss that returns one number", got=got, hint="reduction='mean'") from error
        try:
            self.together(*weights, x[:2], y[:2])
        except (RuntimeError, ValueError, IndexError, NotImplementedError):
            pass
        else:
            raise error  # it does not come again, so it is not vmap's
        self.notes.append("one example at a time: torch.func.vmap cannot follow this model")

    def _rows(self, gradients, count: int) -> Tensor:
        rows = torch.cat([gradients[name].reshape(count, -1) for name in self.names], 1)  # (b, P)
        if not rows.isfinite().all():
            raise InputError("finite gradients", got="NaN or infinity", hint="look at the checkpoints and the inputs")
        return rows

    def explanation(self, method: str, values: Tensor) -> Explanation:
        seconds = time.perf_counter() - self.started
        spent = {"forwards": self.spent, "backwards": self.spent, "seconds": seconds, "notes": tuple(self.notes)}
        return Explanation(method=method, values=values.detach(), gap=None, **spent)


def _plain(tensor: Tensor) -> Tensor:
    """Return a tensor that can be differentiated, also if it was made in inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor.detach()


def _rates(rates: Sequence[float] | float, count: int) -> list[float]:
    rates = [float(rates)] * count if isinstance(rates, int | float) else [float(rate) for rate in rates]
    if len(rates) != count or not count:
        raise InputError(f"one learning rate per checkpoint, {count} of them, or one for all", got=f"{len(rates)}")
    return rates


def _pair(x: Tensor, y: Tensor, what: str) -> tuple[Tensor, Tensor]:
    if not isinstance(x, Tensor) or not isinstance(y, Tensor) or not y.ndim or len(x) != len(y) or not len(x):
        got = " and ".join(str(tuple(one.shape)) if isinstance(one, Tensor) else type(one).__name__ for one in (x, y))
        raise InputError(f"{what} as tensors (N, ...), with a target for each", got=got)
    return x, y


def _parts(x: Tensor, y: Tensor, chunk: int):
    return zip(x.split(chunk), y.split(chunk), strict=True)
