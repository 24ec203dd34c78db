"""Methods that change how modules send a score back: DeepLIFT, Deep SHAP, guided backpropagation, LRP; and expected
gradients, which share the background with Deep SHAP.

A rule sits on a module, so what is computed without one (`F.relu`, attention, a fused LSTM) gets none: the numbers
would be wrong without a word. Each function here looks for that. Captum's, but for `gradient_shap`.
Dimension letters: B examples, N background examples, S samples.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from captum.attr import LRP, DeepLift, DeepLiftShap, GuidedBackprop, InputXGradient
from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR
from captum.attr._core.lrp import SUPPORTED_NON_LINEAR_LAYERS
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import ROWS, Explanation, Forward, Run, Target, running
from bigmodel_lab.explain.methods.sweeps import (
    at_least,
    background_change,
    background_x,
    check_relus,
    check_sum,
    sweep,
)

__all__ = ["deep_lift", "deep_shap", "gradient_shap", "guided", "guided_backprop", "lrp"]


def deep_lift(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
    tolerance: float = 0.01,
) -> Explanation:
    """Return DeepLIFT's values, rescale rule (Shrikumar et al. 2017, arXiv 1704.02685): slopes Δout / Δin, not ∂.

    They sum to f(x) - f(x') exactly if each non-linearity is a module of its own that Captum has a rule for (ReLU, ELU,
    LeakyReLU, Sigmoid, Tanh, Softplus, max-pooling). A gap above `tolerance` of it is said in the notes.
    """
    with running("deep_lift", forward, inputs, target, baseline, embedding=embedding) as run:
        method = DeepLift(run.scores)
        with _ready(run.model):
            values = run.each(
                lambda part: method.attribute(part.x, part.x0, additional_forward_args=part.extra), chunk=ROWS // 2
            )
        change = run.change()
        check_sum(run, values, change, tolerance)
        return run.explanation(values, gap=True, change=change)


@contextmanager
def _ready(model: nn.Module) -> Iterator[None]:
    """Give modules with rules tensors of their own, and say what Captum means where a module is used twice."""
    _own_inputs(module for module in model.modules() if type(module) in SUPPORTED_NON_LINEAR)
    try:
        yield
    except RuntimeError as error:
        if "required for DeepLift computations" not in str(error):
            raise
        raise InputError(
            "activations that are each used once, and the model's only way",
            got="an nn.Module with a rule that is called twice, or whose output is not used",
            hint="explain.mend(model) gives each call its own module; explain.audit(model) names them",
        ) from None


def _own_inputs(modules: Iterable[nn.Module]) -> None:
    """Let each of `modules` read a copy of its input, for the time of the run: Captum hangs its rules onto that tensor.

    In ReLU -> max-pooling two rules would sit on one tensor and run in the wrong order. In x + f(relu(x)) the rule of
    the ReLU would change what comes back by the other way as well.
    """
    for module in modules:
        module.register_forward_pre_hook(lambda module, inputs: tuple(one.clone() for one in inputs))


def deep_shap(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    background: Tensor | None = None,
    embedding: nn.Module | None = None,
    tolerance: float = 0.01,
) -> Explanation:
    """Return the mean of DeepLIFT's values over a `background` (N, ...) (Lundberg & Lee 2017, arXiv 1705.07874).

    They sum to f(x) minus the background's mean score, where `deep_lift` is right; `baseline` is not used.
    """
    with running("deep_shap", forward, inputs, target, baseline, embedding=embedding) as run:
        others = background_x(run, background)
        method = DeepLift(run.scores) if len(others) == 1 else DeepLiftShap(run.scores)
        with _ready(run.model):
            values = run.each(
                lambda part: method.attribute(part.x, others, additional_forward_args=part.extra),
                chunk=max(1, ROWS // (2 * len(others))),
            )
        change = background_change(run, others)
        check_sum(run, values, change, tolerance)
        return run.explanation(values, gap=True, change=change)


def gradient_shap(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    background: Tensor | None = None,
    embedding: nn.Module | None = None,
    samples: int = 64,
    seed: int = 0,
) -> Explanation:
    r"""Return $E_{x', α} (x - x') ∂f/∂x (x' + α (x - x'))$, expected gradients (Erion et al. 2021, arXiv 1906.10670).

    Integrated gradients averaged over a `background` (N, ...), by `samples` pairs (x', α) that spread evenly over both:
    each background example comes equally often, each stretch of the line once. Without a background, the baseline.
    """
    at_least(1, samples=samples)
    with running("gradient_shap", forward, inputs, target, baseline, embedding=embedding) as run:
        others = None if background is None else background_x(run, background)
        generator = torch.Generator().manual_seed(seed)
        share = (torch.randperm(samples, generator=generator) + torch.rand(samples, generator=generator)) / samples
        share = share.to(run.x).view(-1, *[1] * (run.x.ndim - 1))  # (S,) -> (S, 1, ...)
        order = torch.randperm(1 if others is None else len(others), generator=generator)
        whose = order.repeat(samples // len(order) + 1)[:samples].to(run.x.device)
        total = torch.zeros_like(run.x)

        def start(example: Tensor, point: Tensor) -> Tensor:
            return run.x0[example] if others is None else others[whose[point]]

        def place(example: Tensor, point: Tensor) -> Tensor:
            return torch.lerp(start(example, point), run.x[example], share[point])

        def add(example: Tensor, point: Tensor, gradient: Tensor) -> None:
            total.index_add_(0, example, gradient * (run.x[example] - start(example, point)))

        sweep(run, samples, place, add)
        change = run.change() if others is None else background_change(run, others)
        return run.explanation(total / samples, gap=True, change=change)


def guided_backprop(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
) -> Explanation:
    """Return the gradient with its negative parts cut off at each ReLU (Springenberg et al. 2015, arXiv 1412.6806).

    Refuses models without `nn.ReLU` modules; no baseline. For token ids: the length of each token's vector.
    """
    with running("guided_backprop", forward, inputs, target, baseline, embedding=embedding) as run:
        values = guided(run)
        return run.explanation(values.norm(dim=-1) if run.ids is not None else values, gap=False)


def guided(run: Run) -> Tensor:
    """Return the guided gradient in the shape of x. Each ReLU reads a copy, so that only its own way is cut off."""
    check_relus(run)
    _own_inputs(module for module in run.model.modules() if isinstance(module, nn.ReLU))
    method = GuidedBackprop(run.scores)
    return run.each(lambda part: method.attribute(part.x, additional_forward_args=part.extra), chunk=ROWS)


class _LRP(LRP):
    """Captum's, passing over modules that change no number: it has no rule for them and would refuse the model."""

    passed = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Embedding)

    def _get_layers(self, model: nn.Module) -> None:
        super()._get_layers(model)
        self.layers = [layer for layer in self.layers if not isinstance(layer, self.passed)]


def lrp(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
    rules: Mapping[nn.Module, object] | None = None,
) -> Explanation:
    """Return the relevance of each input (Bach et al. 2015, PLOS ONE 10, e0130140), layer by layer by the ε-rule.

    `rules` gives modules others of Captum's (`captum.attr._utils.lrp_rules`: GammaRule, Alpha1_Beta0_Rule). No
    baseline: what sums up is f(x), less what biases take. With the ε-rule alone, LRP of linear layers, ReLU and
    pooling is input × gradient; where it is not, as with a skip connection written `+`, the model is refused.
    """
    with running("lrp", forward, inputs, target, baseline, embedding=embedding) as run:
        method, model = _LRP(run.scores), run.model
        _own_inputs(module for module in model.modules() if type(module) in SUPPORTED_NON_LINEAR_LAYERS)

        def relevance(part: Run) -> Tensor:
            for module, rule in (rules or {}).items():  # each time: Captum takes them off when it is done
                module.rule = rule
            return method.attribute(part.x, additional_forward_args=part.extra)

        try:
            values = run.each(relevance, chunk=ROWS)
        except (TypeError, RuntimeError) as error:
            if "no rule defined" not in str(error) and "used more than once" not in str(error):
                raise
            raise InputError(
                "a model of linear layers, convolutions, batch normalisation, pooling, ReLU and Tanh, each used once",
                got=" ".join(str(error).split()).partition(" Please")[0],
                hint="integrated_gradients, or gradient_shap; explain.mend(model) for an activation used twice",
            ) from None
        if not rules:
            _check_lrp(run, values)
        return run.explanation(values, gap=False)


def _check_lrp(run: Run, values: Tensor) -> None:
    """Hold ε-LRP against input × gradient, which it equals if every operation has its rule.

    A Tanh has the slope tanh(z) / z here: it hands on all the relevance that it gets (Ancona et al. 2018, arXiv
    1711.06104, proposition 1).
    """
    method = InputXGradient(run.scores)
    for module in run.model.modules():
        if isinstance(module, nn.Tanh):
            module.register_forward_hook(lambda module, inputs, output: _as_a_factor(inputs[0], output))
    expected = run.each(lambda part: method.attribute(part.x, additional_forward_args=part.extra), chunk=ROWS)
    off = (values - expected).flatten(1).abs().sum(1)
    if not (off <= 0.01 * expected.flatten(1).abs().sum(1) + 1e-6 * run.score.abs()).all():
        raise InputError(
            "operations that LRP has rules for: modules that are linear, ReLU or pooling, one after the other",
            got="others between them, such as a skip connection written x + y, which counts relevance twice",
            hint="input_x_gradient, which is what the ε-rule gives on ReLU networks; or captum.attr's Addition_Module",
        )


def _as_a_factor(z: Tensor, output: Tensor) -> Tensor:
    """Return `output` as z times a constant."""
    return z * torch.where(z == 0, 1.0, output / z).detach()
