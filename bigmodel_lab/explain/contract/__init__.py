"""The one contract of every explanation method: `(forward, inputs, target, baseline)` in, one frozen `Explanation` out.

A method opens a `Run`, which checks what came, counts what is spent, hands out chunks that fit into memory, and leaves
the model as it was, also when something fails. Captum (Kokhlikyan et al. 2020, arXiv 2009.07896) does most of the work
below it. Dimension letters: B examples, K scores, T tokens, C embedding width, R rows sent through the model.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import checks
from bigmodel_lab.explain.contract.restore import unchanged

__all__ = ["Explanation", "Forward", "Run", "Scores", "Target", "running", "select"]

Forward = Callable[[Tensor], Tensor]  # (B, ...) -> scores (B, K), (B, T, V), or one score per example (B,)
Target = int | tuple[int, ...] | Tensor | None
ROWS = 128  # rows of one chunk where nothing is asked for: on a CPU, 64 to 256 are fastest
MANY = 1024  # of changed inputs without gradients on a GPU


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """What a method says about each part of the inputs, and what it cost to find out."""

    method: str
    values: Tensor  # the shape of the inputs: (B, C, H, W), (B, T, D), (B, T) for token ids, ...
    gap: Tensor | None  # (B,) sum of the values - (f(x) - f(x')); None where the method promises no such sum
    forwards: int  # rows sent through the model
    backwards: int  # rows sent back through it
    seconds: float  # wall time
    notes: tuple[str, ...] = ()  # what was done to make it work: smaller chunks, more steps

    def __len__(self) -> int:
        """Return B, the number of examples."""
        return len(self.values)

    def __repr__(self) -> str:
        """Say what was explained, and at what cost."""
        cost = f"{self.forwards} forwards, {self.backwards} backwards, {self.seconds:.2f} s"
        return f"Explanation({self.method}, values {tuple(self.values.shape)}, {cost})"


def select(output: Tensor, target: Tensor | None) -> Tensor:
    """Pick one score per example: `output` (B,) or (B, K, ...) and `target` (B, n), n places per example -> (B,)."""
    if target is None:
        return output.reshape(len(output))
    return output[(torch.arange(len(output), device=output.device), *target.unbind(1))]


class Scores(nn.Module):
    """The explained function: x (B, ...) -> (B,), the target's score of each example. Counts rows both ways.

    With an `embedding`, `x` is what that module puts out (B, T, C), and `ids` (B, T) is what the model is called with.
    It takes `target` and `ids` as arguments so that Captum repeats them when it repeats x.
    """

    def __init__(self, forward: Forward, embedding: nn.Module | None = None) -> None:
        """Wrap `forward`, a module or any function."""
        super().__init__()
        self.model = forward  # registered as a submodule where it is one
        self.embedding = [embedding]  # in a list: it is a part of the model already
        self.forwards = self.backwards = 0

    def forward(self, x: Tensor, target: Tensor | None = None, ids: Tensor | None = None) -> Tensor:
        """Return one score per example, (B,)."""
        score = select(self.output(x, ids), target)
        if score.requires_grad:
            score.register_hook(self._count)
        return score

    def output(self, x: Tensor, ids: Tensor | None = None) -> Tensor:
        """Return all that the model puts out for x."""
        self.forwards += len(x)
        embedding = self.embedding[0]
        if embedding is None:
            return self.model(x)
        handle = embedding.register_forward_hook(lambda module, inputs, output: x)
        try:
            return self.model(ids)
        finally:
            handle.remove()

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


@dataclass(eq=False)
class Run:
    """One call of a method: what it explains, ready to be differentiated or changed."""

    method: str
    scores: Scores
    inputs: Tensor  # as given: (B, ...) or token ids (B, T)
    x: Tensor  # what is differentiated: the inputs, or their embeddings (B, T, C)
    x0: Tensor  # the baseline in the same shape
    base: Tensor | None  # the baseline of the inputs themselves; None for token ids without one
    target: Tensor | None  # (B, n)
    score: Tensor  # (B,) f(x)
    started: float
    notes: list[str] = field(default_factory=list)

    @property
    def ids(self) -> Tensor | None:
        """Return the token ids where x are embeddings, else None."""
        return self.inputs if self.scores.embedding[0] is not None else None

    @property
    def extra(self) -> tuple[Tensor | None, Tensor | None]:
        """Return what Captum's `additional_forward_args` must be for `scores`: (target, ids)."""
        return self.target, self.ids

    @property
    def model(self) -> nn.Module:
        """Return the model. Raises `InputError` where `forward` is a function: this method needs its layers."""
        if not isinstance(self.scores.model, nn.Module):
            raise InputError(
                f"an nn.Module as forward: {self.method} works on its layers",
                got=f"a {type(self.scores.model).__name__}",
                hint="pass the model itself, or wrap the function in a small nn.Module that holds the model",
            )
        return self.scores.model

    def part(self, start: int, stop: int) -> "Run":
        """Return the run of examples start ... stop - 1; what it spends is counted with this run's."""
        cut = slice(start, stop)
        target = None if self.target is None else self.target[cut]
        base = None if self.base is None else self.base[cut]
        x = self.x[cut].detach().clone().requires_grad_(self.x.is_floating_point())
        return Run(
            self.method,
            self.scores,
            self.inputs[cut],
            x,
            self.x0[cut],
            base,
            target,
            self.score[cut],
            self.started,
            self.notes,
        )

    def each(self, attribute: Callable[["Run"], Tensor], *, chunk: int | None = None, grad: bool = True) -> Tensor:
        """Return `attribute(part)` (b, ...) of all parts, joined: (B, ...). Parts shrink where memory is short."""
        with torch.set_grad_enabled(grad):
            found = self.chunks(len(self.x), chunk or len(self.x), lambda i, j: attribute(self.part(i, j)).detach())
        return torch.cat(found)

    @torch.no_grad()
    def evaluate(
        self, count: int, make: Callable[[int, int], Tensor], owner: Tensor, *, chunk: int | None = None
    ) -> Tensor:
        """Return the scores (R,) of R = `count` changed inputs, without gradients and in chunks.

        `make(start, stop)` builds rows start ... stop - 1 in the shape of the inputs; `owner` (R,) names the example
        each row came from, whose target counts. Rows are inputs (token ids stay ids), not embeddings.
        """

        image = self.inputs.ndim == 4 and not self.inputs.is_cuda
        # Channels last: convolutions take half the time on a CPU. A model that reshapes by .view cannot take it.
        layout = {"now": torch.channels_last if image else torch.contiguous_format}

        def rows(start: int, stop: int) -> Tensor:
            target = None if self.target is None else self.target[owner[start:stop]]
            inputs = make(start, stop).contiguous(memory_format=layout["now"])
            try:
                output = self.scores.model(inputs)
            except RuntimeError as error:
                if "view size is not compatible" not in str(error) or layout["now"] == torch.contiguous_format:
                    raise
                layout["now"] = torch.contiguous_format
                return rows(start, stop)
            self.scores.forwards += len(inputs)
            return select(output, target)

        most = MANY if self.inputs.is_cuda else ROWS // 2 if image else ROWS
        found = torch.cat(self.chunks(count, chunk or most, rows))
        if not found.isfinite().all():
            raise InputError(
                "finite scores for changed inputs too",
                got=f"NaN or infinity in {int((~found.isfinite()).sum())} of {count}",
                hint="another baseline: the model cannot read some mixtures of this one and the inputs",
            )
        return found

    def changed(self, count: int, make: Callable[[int, int], Tensor]) -> Tensor:
        """Return the scores (B, M) of M = `count` changes of every example; row r is change r % M of example r // M."""
        if not count:
            return self.score.new_zeros(len(self.inputs), 0)
        owner = torch.arange(len(self.inputs), device=self.x.device).repeat_interleave(count)
        return self.evaluate(len(owner), make, owner).view(len(self.inputs), count)

    def explanation(self, values: Tensor, *, gap: bool, change: Tensor | None = None) -> Explanation:
        """Close the run. `values` have the shape of x; those of embeddings are summed over C.

        With `gap`, the sum is held against f(x) - f(x'): `change` (B,), or measured here where it is None.
        """
        if self.ids is not None and values.ndim == self.inputs.ndim + 1:
            values = values.sum(-1)  # (B, T, C) -> (B, T)
        values, missing = values.detach(), None
        if gap:
            change = self.change() if change is None else change
            missing = (values.flatten(1).sum(1) - change).detach()
        seconds = time.perf_counter() - self.started
        spent = {"forwards": self.scores.forwards, "backwards": self.scores.backwards, "seconds": seconds}
        return Explanation(method=self.method, values=values, gap=missing, **spent, notes=tuple(self.notes))

    def change(self) -> Tensor:
        """Return f(x) - f(x') of each example, (B,)."""
        base = self.each(lambda part: self.scores(part.x0, *part.extra), grad=False)
        return self.score - base

    def note(self, text: str) -> None:
        """Say once, as a warning and in the explanation, what was done to make it work."""
        if text not in self.notes:
            self.notes.append(text)
            warnings.warn(text, stacklevel=2)

    def chunks(self, count: int, size: int, work: Callable[[int, int], Tensor]) -> list[Tensor]:
        """Return `work(start, stop)` of all chunks; where one does not fit into memory, the rest are half as long."""
        found, start = [], 0
        while start < count:
            stop = min(start + size, count)
            try:
                found.append(work(start, stop))
            except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
                if not _out_of_memory(error) or stop - start == 1:
                    raise
                size = (stop - start) // 2
                failed = f"{stop - start} rows at once"
            else:
                start = stop
                continue
            self.note(f"{self.method}: {failed} do not fit into memory; now {size}")  # the failed ones are freed
            if self.x.is_cuda:
                torch.cuda.empty_cache()
        return found


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return any(sign in text for sign in ("out of memory", "can't allocate memory", "not enough memory"))


@contextmanager
def running(
    method: str,
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
    discrete: bool = False,
) -> Iterator[Run]:
    """Open the run of one method and check what it is given; see `Run`.

    A gradient method gives token ids together with the `embedding` module that the model looks them up in. A method
    that only replaces inputs says `discrete`: it takes ids without one, and then asks for a baseline id.
    Raises `InputError`; leaves the model as it was.
    """
    started = time.perf_counter()
    checks.check_inputs(method, inputs, embedding, discrete=discrete)
    checks.check_model(forward, inputs, embedding)
    with ExitStack() as stack:
        stack.enter_context(unchanged(forward))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message="Setting forward, backward hooks and attributes")
        warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU activations")
        if inputs.is_cuda:  # cuDNN's recurrent layers cannot go back in evaluation mode
            recurrent = isinstance(forward, nn.Module) and any(isinstance(m, nn.RNNBase) for m in forward.modules())
            stack.enter_context(torch.backends.cudnn.flags(enabled=not recurrent))
        inputs = inputs.clone() if inputs.is_inference() else inputs.detach()
        base = checks.full_baseline(inputs, baseline, needed=discrete)
        scores = Scores(forward, embedding)
        x, x0 = inputs, base
        if embedding is not None:
            with torch.no_grad():
                x = embedding(inputs).detach()
                x0 = torch.zeros_like(x) if base is None else embedding(base).detach()
        run = Run(method, scores, inputs, x, x0, base, None, x.new_zeros(len(x)), started)
        # One look at what the model puts out, for the checks and for f(x): in chunks, as all else.
        output = run.each(lambda part: checks.check_output(scores.output(part.x, part.ids), len(part.x)), grad=False)
        run.target = checks.places(output, target)
        run.score = select(output, run.target)
        if not run.score.isfinite().all():
            raise InputError("finite scores", got="NaN or infinity from the model", hint="look at its weights")
        yield run
