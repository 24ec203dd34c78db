"""What gradient methods share: sweeps in chunks, backgrounds, and looks at what would be silently wrong.

Dimension letters: B examples, S points per example, N background examples, R rows sent through the model.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import ROWS, Run, select

__all__ = ["at_least", "background_change", "background_x", "check_relus", "check_sum", "only", "sweep", "tolerated"]

NOISE = 1e-4  # of the scores' size: a gap below it is rounding, whatever the difference f(x) - f(x')


def at_least(least: int, **numbers: int) -> None:
    """Refuse numbers that are not whole or below `least`."""
    for name, number in numbers.items():
        if not isinstance(number, int) or number < least:
            raise InputError(f"{name} as a whole number, at least {least}", got=repr(number))


def sweep(
    run: Run,
    points: int,
    place: Callable[[Tensor, Tensor], Tensor],
    use: Callable[[Tensor, Tensor, Tensor], None],
    *,
    chunk: int = ROWS,
) -> None:
    """Differentiate the score at `points` places per example, `chunk` rows at a time, over examples and points alike.

    `place(example, point)`, both (r,), returns where: (r, ...) in the shape of x. `use(example, point, gradient)` gets
    the gradient there. Rows are fewer where memory is short.
    """

    # Channels last: a third less time for convolutions on a CPU. A model that reshapes by .view cannot take it.
    layout = {"now": torch.channels_last if run.x.ndim == 4 and not run.x.is_cuda else torch.contiguous_format}

    def rows(start: int, stop: int) -> None:
        row = torch.arange(start, stop, device=run.x.device)
        example, point = row // points, row % points
        with torch.no_grad():
            x = place(example, point).contiguous(memory_format=layout["now"])
        x.requires_grad_()
        target, ids = (None if one is None else one[example] for one in run.extra)
        try:
            score = run.scores(x, target, ids)
        except RuntimeError as error:
            if "view size is not compatible" not in str(error) or layout["now"] == torch.contiguous_format:
                raise
            layout["now"] = torch.contiguous_format
            return rows(start, stop)
        if not score.requires_grad:
            hint = "take torch.no_grad, .detach, .item and numpy out of forward"
            raise InputError("a forward that can be differentiated", got="scores without a graph", hint=hint)
        gradient = torch.autograd.grad(score.sum(), x, materialize_grads=True)[0]
        return use(example, point, gradient)

    run.chunks(len(run.x) * points, chunk, rows)


def only(run: Run, index: Tensor) -> Run:
    """Return the run of the examples `index` alone; what it spends is counted with this run's."""
    names = ("inputs", "x", "x0", "base", "target", "score")
    return replace(run, **{name: one if (one := getattr(run, name)) is None else one[index] for name in names})


def tolerated(run: Run, change: Tensor, tolerance: float) -> Tensor:
    """Return the largest gap (B,) that counts as none: a share of f(x) - f(x'), or rounding."""
    if not tolerance > 0:
        raise InputError("a tolerance above 0, a share of f(x) - f(x')", got=repr(tolerance))
    return (tolerance * change.abs()).maximum(NOISE * run.score.abs().maximum((run.score - change).abs()))


def check_sum(run: Run, values: Tensor, change: Tensor, tolerance: float) -> None:
    """Say so where values do not sum to `change`, as they do where every part of the model has its rule."""
    gap = (values.flatten(1).sum(1) - change).abs()
    wrong = gap > tolerated(run, change, tolerance)
    if wrong.any():
        worst = gap[wrong].argmax()
        run.note(
            f"{run.method} is wrong on this model: the values miss f(x) - f(x') by more than {100 * tolerance:.3g}% in "
            f"{int(wrong.sum())} of {len(gap)} examples, at worst by {gap[wrong][worst]:.3g} of "
            f"{change[wrong][worst]:.3g}. Some part has no rule: a functional or reused activation, attention, a "
            f"recurrent layer. explain.audit names it, explain.mend gives activations their own modules; "
            f"integrated_gradients needs neither"
        )


def check_relus(run: Run) -> None:
    """Refuse a model whose ReLUs are no modules, and note it where some are none: those let all gradients pass."""
    counts = {"modules": 0, "all": 0}

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            counts["all"] += function.overloadpacket in (torch.ops.aten.relu, torch.ops.aten.relu_)
            return function(*args, **(kwargs or {}))

    def called(module: nn.Module, inputs: tuple, output: object) -> None:
        counts["modules"] += 1

    handles = [one.register_forward_hook(called) for one in run.model.modules() if isinstance(one, nn.ReLU)]
    try:
        with torch.no_grad(), Count():
            part = run.part(0, 1)
            run.scores(part.x, *part.extra)
    finally:
        for handle in handles:
            handle.remove()
    missed = counts["all"] - counts["modules"]
    if not counts["modules"]:
        raise InputError(
            f"a model with nn.ReLU modules: {run.method} works on what goes back through them",
            got=f"{missed} functional ReLUs" if missed else "a model without ReLU",
            hint="explain.mend(model) makes modules of them" if missed else "saliency or smoothgrad",
        )
    if missed > 0:
        run.note(
            f"{run.method} is wrong on this model: {missed} of {counts['all']} ReLUs are functional, and let all "
            f"gradients pass; explain.audit names them, explain.mend makes modules of them"
        )


def background_x(run: Run, background: Tensor | None) -> Tensor:
    """Return the background (N, ...) as x is: the inputs themselves, or their embeddings."""
    shape = (*("N",), *run.inputs.shape[1:])
    if not isinstance(background, Tensor) or background.shape[1:] != run.inputs.shape[1:] or not len(background):
        got = f"shape {tuple(background.shape)}" if isinstance(background, Tensor) else type(background).__name__
        hint = "background=training_inputs[:20]; for a single one, deep_lift or integrated_gradients with baseline="
        raise InputError(f"a background, examples of shape ({', '.join(map(str, shape))})", got=got, hint=hint)
    background = background.detach().to(run.inputs.device)
    if background.is_floating_point() != run.inputs.is_floating_point():
        raise InputError(f"a background of {run.inputs.dtype}, as the inputs are", got=f"{background.dtype}")
    if run.ids is None:
        if not background.isfinite().all():
            raise InputError("a finite background", got="NaN or infinity in it")
        return background.to(run.x.dtype)
    with torch.no_grad():
        return run.scores.embedding[0](background).detach()


@torch.no_grad()
def background_change(run: Run, background: Tensor) -> Tensor:
    """Return f(x) minus the mean score of the background (N, ...): (B,). Embeddings are read with the example's ids."""
    count = len(background)
    if run.ids is None:
        parts = run.chunks(count, ROWS, lambda i, j: run.scores.output(background[i:j]))
        mean = torch.cat(parts).mean(0)
        return run.score - (select(mean[None], None) if run.target is None else mean[run.target.unbind(1)])

    def rows(start: int, stop: int) -> Tensor:
        row = torch.arange(start, stop, device=background.device)
        example = row // count
        target = None if run.target is None else run.target[example]
        return run.scores(background[row % count], target, run.ids[example])

    return run.score - torch.cat(run.chunks(len(run.x) * count, ROWS, rows)).view(-1, count).mean(1)
