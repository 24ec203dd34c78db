"""Rules on modules: answers by hand, Captum as oracle, each place where Captum is silently wrong, and who says so."""

from copy import deepcopy

import captum.attr as captum
import pytest
import torch
import torch.nn.functional as F
from captum.attr._utils.lrp_rules import GammaRule
from torch import nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import running
from bigmodel_lab.explain.methods import rules
from bigmodel_lab.explain.methods.gradients import input_x_gradient, integrated_gradients, saliency
from bigmodel_lab.explain.methods.rules import deep_lift, deep_shap, gradient_shap, guided_backprop, lrp
from tests.explain.toys import KINDS, Linear, Saturated

pytestmark = pytest.mark.filterwarnings(  # Captum's own, where it is called as oracle
    "ignore:Setting forward, backward hooks", "ignore:Setting backward hooks", "ignore:Input Tensor 0 did not already"
)


def close(got, expected, atol=1e-4):
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


class Net(nn.Module):
    """Convolution, ReLU, pooling, head; each as a module, or the ReLU as a function."""

    def __init__(self, pool=None, *, functional=False):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 4, 3, padding=1), F.relu if functional else nn.ReLU()
        self.pool, self.last, self.head = pool or nn.Identity(), nn.ReLU(), nn.LazyLinear(3)

    def forward(self, x):
        return self.head(self.last(self.pool(self.relu(self.conv(x))) - 0.2).flatten(1))


def net(pool=None, *, functional=False):
    torch.manual_seed(0)
    model = Net(pool, functional=functional).eval()
    with torch.no_grad():
        model(images())
    return model


def images(count=2, seed=0):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def change(model, x, base, target):
    with torch.no_grad():
        return (model(x) - model(base))[:, target]


class TestDeepLift:
    def test_by_hand(self):
        x = torch.tensor([[2.0, 1.0]])
        found = deep_lift(Saturated().eval(), x)  # slopes Δout / Δin: 1 · (-1 / -2) for x₁, 0 / 1 for x₂
        close(found.values, torch.tensor([[1.0, 0.0]]))
        close(found.gap, torch.zeros(1))
        close(saliency(Saturated().eval(), x).values, torch.zeros(1, 2))  # flat at x: the gradient sees nothing
        slope = deep_lift(nn.Sequential(nn.Linear(2, 1), nn.ReLU()).eval(), x)
        assert slope.gap.abs().max() < 1e-6

    def test_captum_is_wrong_on_functional_relus_and_we_say_so(self):
        x = torch.tensor([[2.0, 1.0]])
        with pytest.warns(UserWarning, match=r"deep_lift is wrong on this model.*explain.mend"):
            found = deep_lift(Saturated(functional=True).eval(), x)
        close(found.values, torch.zeros(1, 2))  # the plain gradient
        close(found.gap, torch.tensor([-1.0]))
        assert "miss f(x) - f(x') by more than 1% in 1 of 1 examples" in found.notes[0]

    def test_a_reused_relu_is_refused(self):
        x = torch.tensor([[2.0, 3.0]])
        for method, given in ((deep_lift, {}), (deep_shap, {"background": x + 1})):
            with pytest.raises(InputError, match=r"(?s)used once.*explain\.mend"):
                method(Saturated(reused=True).eval(), x, **given)

    def test_relus_in_place_are_right(self):
        layers = [nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.ReLU(inplace=True), nn.Flatten()]
        torch.manual_seed(0)
        model = nn.Sequential(*layers, nn.Linear(36, 3)).eval()
        close(deep_lift(model, images(), 1).gap, torch.zeros(2), atol=1e-5)

    def test_captum_is_wrong_where_relu_meets_pooling_and_we_are_right(self):
        model, x, base = net(nn.MaxPool2d(2)), images(), images(2, seed=1)
        theirs = captum.DeepLift(model).attribute(x, base, target=1).flatten(1).sum(1)
        truth = change(model, x, base, 1)
        assert ((theirs - truth).abs() > 0.05 * truth.abs()).all()
        found = deep_lift(model, x, 1, base)
        close(found.gap, torch.zeros(2), atol=1e-5)
        assert not found.notes

    def test_captums_softmax_mixes_the_examples_of_a_batch_and_we_say_so(self):
        model, x = nn.Sequential(net(), nn.Softmax(1)).eval(), images()
        method = captum.DeepLift(model)
        both, one = (method.attribute(y, y * 0, target=1) for y in (x, x[:1]))
        assert (both[:1] - one).abs().max() > 0.01 * one.abs().max()
        with pytest.warns(UserWarning, match="wrong on this model"):
            deep_lift(model, x, 1)

    def test_pooling_that_overlaps_is_said(self):
        model = net(nn.MaxPool2d(3, stride=1))
        with pytest.warns(UserWarning, match="wrong on this model"):
            deep_lift(model, images(), 1, images(2, seed=1))

    @pytest.mark.parametrize("kind", ["bert", "gpt2", "text", "vit", "lstm", "gru", "audio"])
    def test_attention_and_recurrent_layers_have_no_rule_and_we_say_so(self, samples, kind):
        s = samples[kind]
        with pytest.warns(UserWarning, match="attention, a recurrent layer"):
            found = deep_lift(s.model, s.inputs, s.target, **s.given)
        with running("change", s.model, s.inputs, s.target, **s.given) as run:
            assert (found.gap.abs() > 0.01 * run.change().abs()).any()
        assert found.values.shape == s.inputs.shape

    def test_captum_agrees_where_it_is_right(self, samples):
        s = samples["residual"]
        theirs = captum.DeepLift(deepcopy(s.model)).attribute(s.inputs, s.inputs * 0 + 0.5, target=s.target)
        close(deep_lift(s.model, s.inputs, s.target, 0.5).values, theirs.detach())

    @pytest.mark.parametrize("kind", ["cnn", "residual"])
    def test_complete_on_networks_of_modules(self, samples, kind):
        s = samples[kind]
        found = deep_lift(s.model, s.inputs, s.target, s.background[0])
        close(found.gap, torch.zeros(2), atol=1e-5)
        assert (found.forwards, found.backwards) == (2 + 4 + 2, 4)


class TestDeepShap:
    def test_is_the_mean_over_the_background(self, samples):
        s = samples["cnn"]
        found = deep_shap(s.model, s.inputs, s.target, background=s.background)
        each = [deep_lift(s.model, s.inputs, s.target, one).values for one in s.background]
        close(found.values, torch.stack(each).mean(0), atol=1e-6)
        with torch.no_grad():
            mean = s.model(s.background).mean(0)
            truth = s.model(s.inputs)[range(2), s.target] - mean[s.target]
        close(found.values.flatten(1).sum(1), truth, atol=1e-5)
        close(found.gap, torch.zeros(2), atol=1e-5)
        one = deep_shap(s.model, s.inputs, s.target, background=s.background[:1])
        close(one.values, each[0], atol=1e-6)

    def test_captum_agrees_where_it_is_right(self, samples):
        s = samples["residual"]
        theirs = captum.DeepLiftShap(deepcopy(s.model)).attribute(s.inputs, s.background, target=s.target)
        close(deep_shap(s.model, s.inputs, s.target, background=s.background).values, theirs.detach())

    def test_a_functional_relu_is_said(self):
        with pytest.warns(UserWarning, match="deep_shap is wrong on this model"):
            deep_shap(net(functional=True), images(), 1, background=images(3, seed=1))

    def test_an_embedded_background_is_read_with_the_examples_ids(self):
        torch.manual_seed(0)
        model = Words().eval()
        ids, others = torch.tensor([[4, 5, 0], [6, 7, 8]]), torch.tensor([[9, 9, 9], [3, 2, 0]])
        found = deep_shap(model, ids, 1, background=others, embedding=model.embedding)
        close(found.gap, torch.zeros(2), atol=1e-5)
        assert found.values[0, 2] == 0  # padding: nothing there for the model

    @pytest.mark.parametrize(
        ("background", "match"),
        [
            (None, "a background"),
            (torch.zeros(2, 3, 4, 4), r"\(N, 3, 8, 8\)"),
            (torch.zeros(2, 3, 8, 8, dtype=torch.long), "float32, as the inputs are"),
            (torch.full((1, 3, 8, 8), torch.nan), "finite background"),
        ],
    )
    def test_no_background(self, background, match):
        with pytest.raises(InputError, match=match):
            deep_shap(net(), images(), 1, background=background)


class Words(nn.Module):
    """Ids (B, T), 0 the padding -> (B, 2), with one ReLU module."""

    def __init__(self):
        super().__init__()
        self.embedding, self.relu = nn.Embedding(10, 4), nn.ReLU()
        self.first, self.head = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, ids):
        real = (ids != 0).unsqueeze(-1)
        return self.head((self.relu(self.first(self.embedding(ids))) * real).sum(1))


class TestGradientShap:
    def test_of_a_linear_score(self):
        torch.manual_seed(0)
        model, x, others = Linear(6).eval(), torch.randn(2, 6), torch.randn(4, 6)
        found = gradient_shap(model, x, 1, background=others, samples=8)
        close(found.values, model.weights(1, x) * (x - others.mean(0)), atol=1e-5)
        close(found.gap, torch.zeros(2), atol=1e-5)

    @pytest.mark.parametrize("kind", ["cnn", "bert", "audio"])
    def test_is_the_mean_of_integrated_gradients_and_closer_than_captum(self, samples, kind):
        s = samples[kind]
        each = [
            integrated_gradients(s.model, s.inputs, s.target, one, **s.given, steps=128).values for one in s.background
        ]
        truth = torch.stack(each).mean(0)
        errors = {"mine": [], "theirs": []}
        for seed in range(4):
            found = gradient_shap(
                s.model, s.inputs, s.target, background=s.background, **s.given, samples=48, seed=seed
            )
            errors["mine"].append((found.values - truth).norm())
            with running("oracle", s.model, s.inputs, s.target, **s.given) as run:
                part, others = run.part(0, 2), s.background
                others = others if s.embedding is None else s.embedding(others).detach()
                theirs = (
                    captum.GradientShap(run.scores)
                    .attribute(part.x, others, n_samples=48, additional_forward_args=part.extra)
                    .detach()
                )
            errors["theirs"].append(((theirs.sum(-1) if s.embedding is not None else theirs) - truth).norm())
        mine, theirs = (torch.stack(errors[name]).mean() for name in ("mine", "theirs"))
        assert mine < 0.15 * truth.norm()
        assert mine < theirs

    def test_without_a_background_it_starts_at_the_baseline(self):
        square = lambda x: x.square().sum(1)  # noqa: E731
        x = torch.tensor([[3.0, 1.0]])
        found = gradient_shap(square, x, baseline=1.0, samples=200)
        close(found.values, x**2 - 1, atol=0.02)
        close(found.gap, found.values.sum(1) - 8, atol=1e-5)

    def test_the_seed_decides(self, samples):
        s = samples["cnn"]
        one, same, other = (gradient_shap(s.model, s.inputs, s.target, samples=4, seed=seed) for seed in (0, 0, 1))
        assert torch.equal(one.values, same.values)
        assert not torch.equal(one.values, other.values)
        assert (one.forwards, one.backwards) == (2 + 8 + 2, 8)


class TestGuidedBackprop:
    def test_by_hand(self):
        first, last = nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False)
        first.weight.data, last.weight.data = torch.eye(2), torch.tensor([[1.0, -1.0]])
        model, x = nn.Sequential(first, nn.ReLU(), last).eval(), torch.ones(1, 2)
        close(guided_backprop(model, x).values, torch.tensor([[1.0, 0.0]]))  # the gradient is (1, -1)

    def test_captum_agrees(self, samples):
        for kind in ("cnn", "residual"):
            s = samples[kind]
            theirs = captum.GuidedBackprop(deepcopy(s.model)).attribute(s.inputs, target=s.target)
            close(guided_backprop(s.model, s.inputs, s.target).values, theirs, atol=1e-6)

    def test_captum_gives_the_plain_gradient_with_functional_relus_and_we_refuse(self):
        model, x = nn.Sequential(nn.Flatten(), nn.Linear(192, 9), Functional(), nn.Linear(9, 2)).eval(), images()
        theirs = captum.GuidedBackprop(model).attribute(x, target=1)
        close(theirs, captum.Saliency(model).attribute(x, target=1, abs=False), atol=0)
        with pytest.raises(InputError, match="1 functional ReLUs"):
            guided_backprop(model, x, 1)

    def test_some_functional_relus_are_said(self):
        with pytest.warns(UserWarning, match="1 of 2 ReLUs are functional"):
            guided_backprop(net(functional=True), images(), 1)

    def test_in_place_and_reused_relus_are_right(self):
        torch.manual_seed(0)
        layers = [nn.Flatten(), nn.Linear(192, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 2)]
        model, shared = nn.Sequential(*layers).eval(), nn.ReLU(inplace=True)
        other = nn.Sequential(*(shared if isinstance(layer, nn.ReLU) else layer for layer in layers)).eval()
        close(guided_backprop(other, images(), 1).values, guided_backprop(model, images(), 1).values, atol=1e-7)

    def test_captum_cuts_the_skip_connection_before_a_relu_and_we_do_not(self):
        """x + w₂ relu(x), with w₂ = 1 and -1: the skip connection's -1 is not the ReLU's to cut."""

        class Before(nn.Module):
            def __init__(self):
                super().__init__()
                self.relu = nn.ReLU()

            def forward(self, x):
                h = x * torch.tensor([1.0, -1.0])
                return (torch.tensor([2.0, -3.0]) * h + self.relu(h)).sum(1)

        x = torch.tensor([[1.0, -1.0]])
        right = torch.tensor([[2.0 + 1, 3.0 - 1]])  # through the skip connection, and through the ReLU
        close(guided_backprop(Before().eval(), x).values, right)
        theirs = captum.GuidedBackprop(Before().eval()).attribute(x)
        assert (theirs - right).abs().max() > 0.5


class Functional(nn.Module):
    def forward(self, x):
        return F.relu(x)


class TestLRP:
    def test_of_a_linear_score_and_by_hand(self):
        torch.manual_seed(0)
        model, x = Linear(6).eval(), torch.randn(2, 6)
        close(lrp(model, x, 1).values, model.weights(1, x) * x)

    def test_is_input_x_gradient_on_relu_networks_and_captum_agrees(self, samples):
        s = samples["cnn"]
        found = lrp(s.model, s.inputs, s.target)
        close(found.values, input_x_gradient(s.model, s.inputs, s.target).values, atol=1e-5)
        close(found.values, captum.LRP(deepcopy(s.model)).attribute(s.inputs, target=s.target).detach(), atol=1e-6)

    def test_relevance_is_kept_without_biases(self):
        torch.manual_seed(0)
        layers = nn.Linear(192, 9, bias=False), nn.ReLU(), nn.Linear(9, 2, bias=False)
        model = nn.Sequential(nn.Flatten(), *layers).eval()
        with torch.no_grad():
            truth = model(images())[:, 1]
        close(lrp(model, images(), 1).values.flatten(1).sum(1), truth, atol=1e-5)

    def test_rules_of_ones_own_hold_in_every_chunk(self, samples, monkeypatch):
        s = samples["cnn"]
        conv = s.model.stages[0][0]
        before = conv.weight.detach().clone()
        monkeypatch.setattr(rules, "ROWS", 1)
        found = lrp(s.model, s.inputs, s.target, rules={conv: GammaRule(gamma=0.5)})
        assert not hasattr(conv, "rule")
        assert torch.equal(conv.weight, before)
        copy = deepcopy(s.model)  # Captum leaves attributes behind
        copy.stages[0][0].rule = GammaRule(gamma=0.5)
        theirs = captum.LRP(copy).attribute(s.inputs, target=s.target).detach()
        close(found.values, theirs, atol=1e-6)
        assert (found.values - lrp(s.model, s.inputs, s.target).values).abs().max() > 1e-4

    def test_captum_counts_a_skip_connection_twice_and_we_refuse(self, samples):
        s = samples["residual"]
        model = s.model
        with pytest.raises(InputError, match="counts relevance twice"):
            lrp(model, s.inputs, s.target)

    @pytest.mark.parametrize("before", [nn.Dropout(), nn.ReLU(), nn.Tanh()], ids=["Dropout", "ReLU", "Tanh"])
    def test_captum_drops_the_rule_of_a_tanh_after_another_and_we_do_not(self, before):
        torch.manual_seed(0)
        layers = nn.Linear(6, 8, bias=False), before, nn.Tanh(), nn.Linear(8, 2, bias=False)
        model, x = nn.Sequential(*layers).eval(), torch.randn(3, 6)
        with torch.no_grad():
            truth = model(x)[:, 1]
        close(lrp(model, x, 1).values.flatten(1).sum(1), truth, atol=1e-5)  # without biases nothing is lost
        theirs = captum.LRP(deepcopy(model)).attribute(x, target=1).flatten(1).sum(1)
        assert (theirs - truth).abs().max() > 0.01

    def test_a_tanh_without_a_module_is_refused(self):
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.tanh, self.last = nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)

            def forward(self, x):
                return self.last(torch.tanh(self.tanh(self.first(x))))

        torch.manual_seed(0)
        with pytest.raises(InputError, match="operations that LRP has rules for"):
            lrp(Model().eval(), 2 * torch.randn(2, 6), 1)

    def test_tokens_pass_through_their_embedding(self):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2)).eval()
        ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
        found = lrp(model, ids, 1, embedding=model[0])
        close(found.values, input_x_gradient(model, ids, 1, embedding=model[0]).values, atol=1e-5)

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("cnn", "residual")])
    def test_attention_and_recurrent_layers_are_refused(self, samples, kind):
        s = samples[kind]
        with pytest.raises(InputError, match=r"(?s)no rule defined.*integrated_gradients"):
            lrp(s.model, s.inputs, s.target, **s.given)


METHODS = {"deep_lift": deep_lift, "deep_shap": deep_shap, "guided_backprop": guided_backprop, "lrp": lrp}


@pytest.mark.parametrize("name", [*METHODS, "gradient_shap"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:.*is wrong on this model")
def test_every_method_on_every_kind_of_model_answers_or_says_what_to_use(samples, kind, name):
    s, method = samples[kind], getattr(rules, name)
    given = s.given | ({"background": s.background} if "shap" in name else {})
    if (name == "guided_backprop" and kind not in ("cnn", "residual")) or (name == "lrp" and kind != "cnn"):
        with pytest.raises(InputError, match="try: "):
            method(s.model, s.inputs, s.target, **given)
    else:
        found = method(s.model, s.inputs, s.target, **given)
        assert found.values.shape == s.inputs.shape
        assert found.values.isfinite().all()
        assert found.values.abs().sum() > 0
    for module in s.model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not hasattr(module, "rule")


@pytest.mark.parametrize("name", METHODS)
def test_chunks_do_not_matter(samples, name, monkeypatch):
    s = samples["cnn"]
    given = {"background": s.background} if "shap" in name else {}
    whole = METHODS[name](s.model, s.inputs, s.target, **given).values
    monkeypatch.setattr(rules, "ROWS", 2)
    close(METHODS[name](s.model, s.inputs, s.target, **given).values, whole, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_nothing_is_left_where_it_fails(name):
    model = net()
    given = {"background": images(3)} if "shap" in name else {}
    calls = []

    def fail(*_):
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("broken")

    model.last.register_forward_hook(fail)
    before = [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()]
    with pytest.raises(ValueError, match="broken"):
        METHODS[name](model, images(), 1, **given)
    assert before == [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()]
    assert not any(hasattr(module, "rule") or hasattr(module, "activations") for module in model.modules())


@pytest.mark.parametrize("name", METHODS)
def test_a_function_is_no_model(name):
    given = {"background": images(3)} if "shap" in name else {}
    with pytest.raises(InputError, match=r"an nn\.Module as forward"):
        METHODS[name](lambda x: x.sum((1, 2, 3)), images(), **given)


def test_a_tolerance_above_zero():
    with pytest.raises(InputError, match="a tolerance above 0"):
        deep_lift(net(), images(), 1, tolerance=0)
