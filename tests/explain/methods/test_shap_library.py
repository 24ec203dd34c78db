"""SHAP's explainers under the contract: SHAP called directly as oracle, exact values, and what it gets wrong."""

import warnings
from copy import deepcopy
from itertools import permutations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.auditing import mend
from bigmodel_lab.explain.methods.rules import deep_lift, deep_shap, gradient_shap
from bigmodel_lab.explain.methods.shap_library import _tree, shap_deep, shap_gradient, shap_partition
from bigmodel_lab.models.cnn import CNN, CNNConfig
from tests.explain.toys import KINDS, Linear


@pytest.fixture(scope="module")
def shap():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap

    return shap


def close(got, expected, atol=1e-4):
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


class TestDeep:
    @pytest.mark.parametrize("kind", ["cnn", "residual"])
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_shap_and_deep_shap_agree(self, samples, shap, kind):
        s = samples[kind]
        found = shap_deep(s.model, s.inputs, s.target, background=s.background)
        direct = shap.DeepExplainer(deepcopy(s.model), s.background).shap_values(s.inputs)  # (B, C, H, W, K)
        close(found.values, torch.stack([torch.tensor(direct[i, ..., t]) for i, t in enumerate(s.target)]).float())
        # deep_shap copies between ReLU and pooling; Captum's own DeepLiftShap is off here
        close(found.values, deep_shap(s.model, s.inputs, s.target, background=s.background).values)
        close(found.gap, torch.zeros(2), atol=1e-5)

    def test_a_functional_relu_is_said(self):
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 2)

            def forward(self, x):
                return self.last(F.relu(self.first(x)))

        torch.manual_seed(0)
        with pytest.warns(UserWarning, match="shap_deep is wrong on this model"):
            shap_deep(Model().eval(), torch.randn(2, 6), 1, background=torch.randn(4, 6))

    @pytest.mark.filterwarnings("ignore:shap_deep")
    def test_modules_without_a_rule_are_named(self, samples):
        s = samples["gru"]
        found = shap_deep(s.model, s.inputs, s.target, background=s.background, **s.given)
        assert "wrong on this model" in found.notes[1]
        assert found.notes[0] == "shap_deep: SHAP has no rule for GRU and takes plain gradients there"

    def test_sums_and_steps_of_a_mended_model_need_no_rule(self, recwarn):
        torch.manual_seed(0)
        mended = mend(CNN(CNNConfig(channels=1, outputs=2, widths=(4, 4), residual=True)).eval())
        assert any(type(module).__name__ == "Addition_Module" for module in mended.modules())
        x = torch.randn(2, 1, 8, 8)
        found = shap_deep(mended, x, 1, background=torch.randn(3, 1, 8, 8))
        assert found.notes == ()
        assert found.gap.abs().max() < 1e-4

        class Half(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.relu, self.last = nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)

            def forward(self, x):
                return self.last(0.5 * self.relu(self.first(x)))

        mended = mend(Half().eval(), torch.randn(2, 6))
        assert any(type(module).__name__ == "Step" for module in mended.modules())
        assert shap_deep(mended, torch.randn(2, 6), 1, background=torch.randn(3, 6)).notes == ()


class TestGradient:
    @pytest.mark.parametrize("method", [shap_gradient, shap_deep, gradient_shap, deep_shap])
    def test_a_background_from_inference_mode(self, samples, method):
        s = samples["cnn"]
        with torch.inference_mode():
            background = s.background * 1
        found = method(s.model, s.inputs, s.target, background=background)
        close(found.values, method(s.model, s.inputs, s.target, background=s.background).values, atol=0)

    def test_shap_agrees(self, samples, shap):
        s = samples["cnn"]
        found = shap_gradient(s.model, s.inputs[:1], 1, background=s.background, samples=30, seed=3)
        direct = shap.GradientExplainer(s.model, s.background).shap_values(s.inputs[:1], nsamples=30, rseed=3)
        close(found.values, torch.tensor(direct[..., 1]).float())

    def test_gradient_shap_is_closer_to_the_same_mean(self, samples):
        s = samples["cnn"]
        truth = gradient_shap(s.model, s.inputs, s.target, background=s.background, samples=3000).values
        errors = [
            (method(s.model, s.inputs, s.target, background=s.background, samples=60).values - truth).norm()
            for method in (gradient_shap, shap_gradient)
        ]
        assert errors[0] < errors[1] < 0.5 * truth.norm()

    def test_numpys_generator_is_left_as_it_was(self, samples):
        s = samples["audio"]
        for method, given in ((shap_gradient, {"background": s.background, "samples": 5}), (shap_partition, {})):
            before = np.random.get_state()[1].copy()  # noqa: NPY002
            one, same = (method(s.model, s.inputs, s.target, **given) for _ in range(2))
            assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
            assert torch.equal(one.values, same.values)


class TestPartition:
    def test_the_tree_halves_the_longer_side(self):
        assert _tree((3,)).tolist() == [[0, 1, 2, 2], [3, 2, 3, 3]]
        tree = _tree((2, 4))  # 0 1 2 3 / 4 5 6 7: left half {0, 1, 4, 5} = {0, 1} + {4, 5}, or {0, 4} + {1, 5}
        assert tree[-1].tolist()[2:] == [8, 8]
        assert len(tree) == 7

    def test_owen_values_by_hand(self):
        def score(x):
            return x[:, 0] * x[:, 1] * x[:, 2] + 2 * x[:, 3] + x[:, 1] * x[:, 3]

        x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
        found = shap_partition(score, x)
        # the orders in which {0, 1} stay together, and {2, 3}
        orders = [order for order in permutations(range(4)) if {*order[:2]} in ({0, 1}, {2, 3})]
        expected = torch.zeros(1, 4)
        for order in orders:
            shown = torch.zeros(1, 4)
            for place in order:
                after = shown.clone()
                after[0, place] = x[0, place]
                expected[0, place] += (score(after) - score(shown))[0] / len(orders)
                shown = after
        close(found.values, expected)
        close(found.gap, torch.zeros(1))

    def test_of_a_linear_score_on_a_picture(self):
        torch.manual_seed(0)
        model, x = Linear(2 * 4 * 4).eval(), torch.randn(2, 2, 4, 4)
        found = shap_partition(model, x, 1, baseline=0.5, most=1000)
        exact = (model.weights(1, x) * (x - 0.5)).sum(1, keepdim=True)
        close(found.values.sum(1, keepdim=True), exact)
        close(found.values[:, 0], found.values[:, 1], atol=1e-6)

    def test_few_forwards_leave_groups_together(self):
        torch.manual_seed(0)
        model, x = Linear(16).eval(), torch.randn(1, 1, 4, 4)
        found = shap_partition(model, x, 1, most=6)
        assert len(found.values.unique()) <= 4
        close(found.gap, torch.zeros(1))
        assert found.forwards <= 10

    def test_a_token_without_weight_gets_nothing(self, samples):
        s = samples["bert"]
        found = shap_partition(s.model, s.inputs, s.target, 4, **s.given)
        again = shap_partition(s.model, torch.where(s.inputs == s.inputs[0, 0], 4, s.inputs), s.target, 4)
        assert found.values.shape == s.inputs.shape
        assert again.values[0, 0].abs() < 1e-6 < found.values[0, 0].abs()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:.*is wrong on this model", "ignore:.*SHAP has no rule")
def test_every_explainer_on_every_kind_of_model(samples, kind):
    s = samples[kind]
    for method in (shap_deep, shap_gradient, shap_partition):
        given = {"most": 40} if method is shap_partition else {"background": s.background}
        given |= {"samples": 20} if method is shap_gradient else {}
        base = 4 if s.embedding is not None else None
        found = method(s.model, s.inputs, s.target, base, **s.given, **given)
        assert found.values.shape == s.inputs.shape
        assert found.values.isfinite().all()
        assert found.values.abs().sum() > 0
    for module in s.model.modules():
        assert not module._forward_hooks
        assert not hasattr(module, "x")


class TestRefused:
    def test_what_makes_no_sense(self, samples):
        s = samples["cnn"]
        for method in (shap_deep, shap_gradient):
            with pytest.raises(InputError, match="a background"):
                method(s.model, s.inputs, s.target)
        with pytest.raises(InputError, match="samples"):
            shap_gradient(s.model, s.inputs, s.target, background=s.background, samples=0)
        with pytest.raises(InputError, match="most"):
            shap_partition(s.model, s.inputs, s.target, most=1)
        with pytest.raises(InputError, match="at least 2 places"):
            shap_partition(nn.Linear(1, 1).eval(), torch.ones(2, 1))
        with pytest.raises(InputError, match=r"an nn\.Module as forward"):
            shap_deep(lambda x: x.sum(1), torch.ones(2, 3), background=torch.ones(2, 3))
        with pytest.raises(InputError, match="a baseline for token ids"):
            shap_partition(samples["text"].model, samples["text"].inputs, 1)


def test_deep_lift_and_shap_agree_on_one_background(samples):
    s = samples["residual"]
    close(
        shap_deep(s.model, s.inputs, s.target, background=s.background[:1]).values,
        deep_lift(s.model, s.inputs, s.target, s.background[0]).values,
    )
