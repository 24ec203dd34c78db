"""Conductance: how much of a score flows through each neuron of a layer.

Sources: Dhamdhere, Sundararajan & Yan (2018), How important is a neuron?, arXiv 1805.12233; Captum for one neuron.
Dimension letters: B examples, S steps, T tokens, C channels.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from captum.attr import NeuronConductance
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import ROWS, Explanation, Forward, Run, Target, running

__all__ = ["at_layer", "check_layer", "layer_conductance", "neuron_conductance"]

CLOSE, MOST = 0.01, 1024  # steps are doubled until the values move by at most this share, or this many steps


def layer_conductance(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    layer: nn.Module,
    embedding: nn.Module | None = None,
    steps: int = 16,
) -> Explanation:
    r"""Return how much of f(x) - f(x') flows through each output h of `layer`: ∫ ∂f/∂h dh from x' to x; equation (3).

    Values have the shape of the layer's output (B, ...); of a layer that returns a tuple the first part counts.
    They sum to f(x) - f(x') if nothing passes around the layer: the gap tells what does. `steps` on the straight line
    from x' to x are doubled until the values move by less than 1 %. The trapezoid rule: Captum's LayerConductance
    takes the slope at the start of each step, and needs tens of times as many for the same gap.
    """
    with running("layer_conductance", forward, inputs, target, baseline, embedding=embedding) as run:
        check_layer(run, layer)
        change = run.change()

        def conductance(count: int) -> Tensor:
            return run.each(lambda part: _trapezoid(part, layer, count), chunk=max(1, ROWS // count))

        values = _refined(run, conductance, steps, change)
        flat = run.explanation(values.flatten(1), gap=True, change=change)
        return replace(flat, values=values)


def neuron_conductance(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    layer: nn.Module,
    neuron: int | tuple[int, ...],
    embedding: nn.Module | None = None,
    steps: int = 16,
) -> Explanation:
    """Return how much of f(x) - f(x') each input sends through one `neuron` of `layer`: equation (2) of the paper.

    `neuron` is a place in the layer's output of one example, an int for (B, N), (token, channel) for (B, T, C).
    Values have the shape of the inputs and sum to the neuron's `layer_conductance`. Captum's NeuronConductance, with
    `steps` doubled until the values move by less than 1 %.
    """
    neuron = (neuron,) if isinstance(neuron, int) else tuple(neuron)
    with running("neuron_conductance", forward, inputs, target, baseline, embedding=embedding) as run:
        check_layer(run, layer)
        one = run.part(0, 1)
        shape = at_layer(layer, 1, lambda: one.scores(one.x, *one.extra))[0].shape[1:]
        if len(neuron) != len(shape) or not all(-n <= place < n for place, n in zip(neuron, shape, strict=True)):
            raise InputError(f"a neuron of the layer's {' × '.join(map(str, shape))}", got=f"{neuron}")

        def conductance(count: int) -> Tensor:
            method = NeuronConductance(run.scores, layer)
            options = {"n_steps": count, "method": "gausslegendre"}
            return run.each(
                lambda part: method.attribute(
                    part.x, neuron, baselines=part.x0, additional_forward_args=part.extra, **options
                ),
                chunk=max(1, ROWS // count),
            )

        return run.explanation(_refined(run, conductance, steps, run.change()), gap=False)


def _trapezoid(part: Run, layer: nn.Module, steps: int) -> Tensor:
    """Return the sum over steps of (∂f/∂h before + ∂f/∂h after) / 2 · (h after - h before): (b, ...)."""
    count = len(part.x)
    share = torch.linspace(0, 1, steps + 1, dtype=part.x.dtype, device=part.x.device)
    share = share.view(-1, *[1] * part.x.ndim)  # -> (S + 1, 1, ...)
    line = (part.x0 + share * (part.x.detach() - part.x0)).flatten(0, 1)  # (S + 1, b, ...) -> rows
    target, ids = (
        None if one is None else one.repeat(steps + 1, *[1] * (one.ndim - 1)) for one in (part.target, part.ids)
    )
    hidden, score = at_layer(layer, len(line), lambda: part.scores(line, target, ids))
    slope = torch.autograd.grad(score.sum(), hidden)[0]
    hidden = hidden.detach().view(steps + 1, count, *hidden.shape[1:])
    slope = slope.view_as(hidden)
    return ((slope[1:] + slope[:-1]) / 2 * hidden.diff(dim=0)).sum(0)


def at_layer(layer: nn.Module, count: int, call: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """Run `call()`, in which the model sees `count` rows; return the layer's output (count, ...), and what came out.

    The output is made a leaf: what came out can be differentiated by it, and by nothing before it.
    """
    seen = []

    def cut(module: nn.Module, inputs: tuple, output: object) -> object:
        whole = isinstance(output, tuple)
        hidden = output[0] if whole else output
        if not isinstance(hidden, Tensor) or not hidden.ndim or len(hidden) != count:
            got = f"shape {tuple(hidden.shape)}" if isinstance(hidden, Tensor) else type(hidden).__name__
            raise InputError("a layer that puts out a tensor (B, ...)", got=got)
        seen.append(hidden.detach().requires_grad_())
        return (seen[-1], *output[1:]) if whole else seen[-1]

    handle = layer.register_forward_hook(cut)
    try:
        result = call()
    finally:
        handle.remove()
    if len(seen) != 1:
        got = f"{len(seen)} calls of this one"
        raise InputError(
            "a layer that the model calls once", got=got, hint="explain.mend(model) gives each call its own"
        )
    return seen[0], result


def _refined(run: Run, values: Callable[[int], Tensor], steps: int, change: Tensor) -> Tensor:
    """Return `values(steps)`, with steps doubled until they move by less than `CLOSE` of their size."""
    if not isinstance(steps, int) or steps < 1:
        raise InputError("at least 1 step", got=repr(steps))
    before = values(steps)
    while steps < MOST:
        steps *= 2
        after = values(steps)
        moved = (after - before).flatten(1).abs().sum(1)
        if (moved <= CLOSE * after.flatten(1).abs().sum(1).maximum(change.abs())).all():
            return after
        before = after
    run.note(f"{run.method}: still moving at {steps} steps; look at the gap")
    return before


def check_layer(run: Run, layer: nn.Module) -> None:
    """Refuse a layer that is no module of the model."""
    if all(layer is not module for module in run.model.modules()):
        got = f"a {type(layer).__name__} that is none of its modules"
        raise InputError("a layer of the model", got=got, hint="layer=model.features[3], say")
