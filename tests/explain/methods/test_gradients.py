"""Gradient methods: closed forms, completeness, Captum as oracle, chunks that do not matter, and what is refused."""

import captum.attr as captum
import pytest
import torch
from torch import nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import running
from bigmodel_lab.explain.methods import gradients, sweeps
from bigmodel_lab.explain.methods.gradients import (
    input_x_gradient,
    integrated_gradients,
    saliency,
    smoothgrad,
    smoothgrad_squared,
    smoothgrads,
    vargrad,
)
from tests.explain.toys import KINDS, Linear

METHODS = [saliency, input_x_gradient, integrated_gradients, smoothgrad, smoothgrad_squared, vargrad]


def close(got, expected, atol=1e-4):
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


def product(x):
    """f(x) = x₁ x₂²"""
    return x[:, 0] * x[:, 1] ** 2


def squares(x):
    """f(x) = 1 x₁² + 2 x₂² + 3 x₃²"""
    return (x.square() * torch.tensor([1.0, 2, 3])).sum(1)


@pytest.fixture
def linear():
    torch.manual_seed(0)
    return Linear(12).eval(), torch.randn(4, 3, 4)


class TestClosedForms:
    def test_of_a_linear_score(self, linear):
        model, x = linear
        w = model.weights(1, x)
        close(saliency(model, x, 1).values, w.abs())
        close(input_x_gradient(model, x, 1).values, w * x)
        found = integrated_gradients(model, x, 1, baseline=0.5)
        close(found.values, w * (x - 0.5))
        close(found.gap, torch.zeros(4), atol=1e-5)
        noisy = smoothgrads(model, x, 1, samples=5)
        close(noisy["smoothgrad"].values, w)
        close(noisy["smoothgrad_squared"].values, w**2)
        close(noisy["vargrad"].values, torch.zeros_like(x), atol=1e-12)  # Captum's may fall below zero by rounding

    def test_integrated_gradients_of_a_product(self):
        x = torch.tensor([[3.0, 2.0]])
        found = integrated_gradients(product, x)  # ∫ (2α)² dα · 3 = 4 and ∫ 2 · 3α · 2α dα · 2 = 8
        close(found.values, torch.tensor([[4.0, 8.0]]))
        assert (found.forwards, found.backwards) == (1 + 1 + 32, 32)

    def test_noise_on_a_square(self):
        x = torch.tensor([[0.0, 1.0, 2.0], [1.0, 1.0, 3.0]])
        a, sigma = torch.tensor([1.0, 2, 3]), 0.1 * 2.0  # both examples range over 2
        found = smoothgrads(squares, x, samples=20_000, noise=0.1)
        close(found["smoothgrad"].values, 2 * a * x, atol=0.04)
        close(found["vargrad"].values, (4 * a**2 * sigma**2).expand(2, 3), atol=0.04)
        both = found["smoothgrad"].values ** 2 + found["vargrad"].values
        close(found["smoothgrad_squared"].values, both)


class TestCaptumAgrees:
    @pytest.mark.parametrize("kind", ["cnn", "bert", "gpt2", "lstm"])
    def test_on_gradients(self, samples, kind):
        s = samples[kind]
        with running("oracle", s.model, s.inputs, s.target, **s.given) as run:
            part = run.part(0, 2)
            given = {"additional_forward_args": part.extra}
            slopes = captum.Saliency(run.scores).attribute(part.x, abs=False, **given).detach()
            product = captum.InputXGradient(run.scores).attribute(part.x, **given).detach()
            line = captum.IntegratedGradients(run.scores).attribute(part.x, part.x0, n_steps=16, **given).detach()
        ids = s.embedding is not None
        close(saliency(s.model, s.inputs, s.target, **s.given).values, slopes.norm(dim=-1) if ids else slopes.abs())
        close(input_x_gradient(s.model, s.inputs, s.target, **s.given).values, product.sum(-1) if ids else product)
        found = integrated_gradients(s.model, s.inputs, s.target, **s.given, steps=16, tolerance=1e9)
        close(found.values, line.sum(-1) if ids else line, atol=1e-5)

    def test_on_noise_given_the_same_draws(self, samples, monkeypatch):
        s = samples["cnn"]
        mine = smoothgrads(s.model, s.inputs, s.target, samples=6, noise=0.2, seed=3)
        flat = s.inputs.flatten(1)
        width = (0.2 * (flat.amax(1) - flat.amin(1))).view(-1, 1, 1, 1, 1)
        draws = torch.randn(6, *s.inputs.shape[1:], generator=torch.Generator().manual_seed(3))
        noisy = (s.inputs[:, None] + width * draws).flatten(0, 1)
        monkeypatch.setattr(captum.NoiseTunnel, "_add_noise_to_input", staticmethod(lambda *_: noisy.clone()))
        tunnel = captum.NoiseTunnel(captum.Saliency(s.model))
        for name, kind in (
            ("smoothgrad", "smoothgrad"),
            ("smoothgrad_squared", "smoothgrad_sq"),
            ("vargrad", "vargrad"),
        ):
            theirs = tunnel.attribute(s.inputs, nt_type=kind, nt_samples=6, target=s.target, abs=False)
            close(mine[name].values, theirs, atol=1e-6)
            close(
                mine[name].values,
                getattr(gradients, name)(s.model, s.inputs, s.target, samples=6, noise=0.2, seed=3).values,
                atol=0,
            )


class TestIntegratedGradients:
    def steep(self, x):
        """A score that turns within a small part of the line, for the second example only."""
        return torch.sigmoid(x[:, 0] * (x[:, 1] - 0.3) * 20) + x.sum(1)

    def test_only_what_is_not_done_runs_again(self):
        x = torch.tensor([[0.0, 1.0], [200.0, 1.0]])
        found = integrated_gradients(self.steep, x, steps=4)
        assert found.gap.abs().max() <= 0.01 * 201
        x = torch.tensor([[0.0, 1.0], [1.0, 40.0]])
        few = integrated_gradients(self.steep, x, steps=2, tolerance=0.001)
        alone = integrated_gradients(self.steep, x[1:], steps=2, tolerance=0.001)
        assert few.backwards == alone.backwards + 2
        close(few.values[1:], alone.values, atol=1e-6)

    def test_steps_that_run_out_are_said(self):
        x = torch.tensor([[1.0, 400.0]])
        jump = lambda x: torch.sigmoid(1000 * (x[:, 1] - 130))  # noqa: E731
        with pytest.warns(UserWarning, match=r"still miss 1% .* after 16 steps"):
            found = integrated_gradients(jump, x, steps=2, most=16)
        assert found.notes
        assert found.backwards == 2 + 4 + 8 + 16

    def test_doubled_steps_are_captums_integral(self, samples):
        s = samples["cnn"]
        many = captum.IntegratedGradients(s.model).attribute(s.inputs, 0, s.target, n_steps=400)
        with pytest.warns(UserWarning, match="after 512 steps"):  # a tolerance that nothing meets
            found = integrated_gradients(s.model, s.inputs, s.target, tolerance=1e-9, most=512)
        close(found.values, many.detach())

    def test_a_tiny_difference_is_no_reason_to_go_on(self):
        found = integrated_gradients(lambda x: 1 + 0 * x.sum(1), torch.ones(2, 3))
        assert found.backwards == 64
        assert not found.notes

    @pytest.mark.parametrize("kind", KINDS)
    def test_complete_on_every_kind_of_model(self, samples, kind):
        s = samples[kind]
        found = integrated_gradients(s.model, s.inputs, s.target, **s.given)
        with running("change", s.model, s.inputs, s.target, **s.given) as run:
            change = run.change()
        assert (found.gap.abs() <= (0.01 * change.abs()).clamp(min=1e-4 * run.score.abs().max())).all()
        close(found.values.flatten(1).sum(1), change + found.gap, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.__name__)
def test_every_method_on_every_kind_of_model(samples, kind, method):
    s = samples[kind]
    found = method(s.model, s.inputs, s.target, **s.given)
    assert found.values.shape == s.inputs.shape
    assert found.values.isfinite().all()
    assert found.values.abs().sum() > 0
    alone = method(s.model, s.inputs[:1], s.target if not torch.is_tensor(s.target) else s.target[:1], **s.given)
    close(found.values[:1], alone.values, atol=1e-5)  # what else is in the batch changes nothing
    assert not any(module._forward_hooks for module in s.model.modules())


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.__name__)
def test_chunks_do_not_matter(samples, method, monkeypatch):
    s = samples["cnn"]
    whole = method(s.model, s.inputs, s.target).values
    monkeypatch.setitem(sweeps.sweep.__kwdefaults__, "chunk", 7)
    monkeypatch.setattr(gradients, "ROWS", 1)
    close(method(s.model, s.inputs, s.target).values, whole, atol=1e-6)


def test_the_trio_costs_one_set_of_passes(samples):
    s = samples["cnn"]
    trio = smoothgrads(s.model, s.inputs, s.target, samples=10)
    assert {(one.forwards, one.backwards) for one in trio.values()} == {(2 + 20, 20)}
    assert [one.method for one in trio.values()] == list(trio)
    assert (saliency(s.model, s.inputs, s.target).forwards, saliency(s.model, s.inputs, s.target).backwards) == (4, 2)


def test_rows_shrink_where_memory_is_short(linear):
    model, x = linear

    def small(rows):
        if len(rows) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return model(rows)

    with pytest.warns(UserWarning, match="do not fit into memory; now"):
        found = smoothgrad(small, x, 1, samples=8)
    close(found.values, model.weights(1, x))
    assert found.backwards == 32


def test_a_model_that_views_gets_the_layout_it_needs():
    torch.manual_seed(0)

    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 2)

        def forward(self, x):
            y = self.conv(x).tanh()
            return self.head(y.view(len(y), -1))

    x = torch.rand(2, 3, 8, 8)
    found = integrated_gradients(Views().eval(), x, 0)
    assert found.gap.abs().max() < 1e-3


def test_a_target_of_a_language_model_is_a_place_and_a_token(samples):
    s = samples["gpt2"]
    found = saliency(s.model, s.inputs, (2, 9), **s.given)
    assert (found.values[:, 3:] == 0).all()  # what comes later cannot matter
    assert (found.values[:, :3] > 0).all()


class TestRefused:
    def test_numbers_that_make_no_sense(self, linear):
        model, x = linear
        for wrong in ({"steps": 0}, {"most": 0.5}, {"tolerance": 0}):
            with pytest.raises(InputError, match=next(iter(wrong))):
                integrated_gradients(model, x, 1, **wrong)
        for wrong in ({"samples": 0}, {"noise": 0.0}):
            with pytest.raises(InputError, match=next(iter(wrong))):
                smoothgrads(model, x, 1, **wrong)

    @pytest.mark.parametrize("method", [integrated_gradients, smoothgrad])
    def test_a_forward_without_a_graph(self, linear, method):
        model, x = linear
        with pytest.raises(InputError, match="differentiated"):
            method(torch.no_grad()(model), x, 1)

    @pytest.mark.parametrize("method", METHODS, ids=lambda m: m.__name__)
    def test_what_the_contract_refuses(self, samples, method):
        s = samples["text"]
        with pytest.raises(InputError, match=f"{method.__name__} differentiates"):
            method(s.model, s.inputs, s.target)
        with pytest.raises(InputError, match="target"):
            method(s.model, s.inputs, **s.given)
        with pytest.raises(InputError, match="baseline"):
            method(s.model, s.inputs, s.target, torch.zeros(3, dtype=torch.long), **s.given)
