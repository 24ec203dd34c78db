"""Occlusion, ablation and LIME: closed forms, Captum and scikit-learn as oracles, every kind of input, and errors."""

import re

import captum.attr as captum
import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.methods.perturbation import ablation, lime, occlusion
from bigmodel_lab.explain.players import Players, grid
from tests.explain.toys import Linear

METHODS = [ablation, lime, occlusion]
IDS = ("lstm", "gru", "text", "bert", "gpt2")


def close(got, expected, atol=1e-4):
    torch.testing.assert_close(got, torch.as_tensor(expected).to(got), rtol=0, atol=atol)


@pytest.fixture
def linear():
    torch.manual_seed(0)
    return Linear(12).eval(), torch.randn(4, 12), torch.randn(12)


class TestOcclusion:
    def test_of_a_linear_score(self, linear):
        model, x, base = linear
        close(occlusion(model, x, 1, base).values, model.weights(1, x) * (x - base))

    def test_by_hand_overlapping_windows_and_one_cut_off(self):
        x = torch.tensor([[1.0, 2, 4, 8]])
        found = occlusion(lambda x: x.sum(1), x, window=3, stride=2)  # 0-2 falls by 7, 2-3 by 12
        close(found.values, [[7, 7, 9.5, 12]])
        assert found.gap is None
        assert found.forwards == 3
        assert occlusion(lambda x: x.sum(1), x, window=4).values.tolist() == [[15] * 4]

    @pytest.mark.parametrize("kind", ["cnn", "vit"])
    @pytest.mark.parametrize(
        ("window", "stride", "captums"),
        [
            (None, None, ((3, 8, 8), (3, 4, 4))),
            (5, 3, ((3, 5, 5), (3, 3, 3))),
            (5, None, ((3, 5, 5), (3, 2, 2))),
            ((1, 6, 16), (1, 5, 16), ((1, 6, 16), (1, 5, 16))),
            ((2, 7, 3), (1, 4, 3), ((2, 7, 3), (1, 4, 3))),
            ([3, 16, 16], 16, ((3, 16, 16), (3, 16, 16))),
        ],
    )
    @pytest.mark.parametrize("baseline", [0.0, 0.5])
    def test_equals_captums_on_images(self, samples, kind, window, stride, captums, baseline):
        s = samples[kind]
        found = occlusion(s.model, s.inputs, s.target, baseline, window=window, stride=stride)
        with torch.no_grad():
            theirs = captum.Occlusion(s.model).attribute(s.inputs, *captums, target=s.target, baselines=baseline)
        close(found.values, theirs)

    def test_equals_captums_on_series(self, samples):
        s = samples["audio"]  # (B, 9, 5)
        for given, captums in (
            ({}, ((1, 5), (1, 5))),
            ({"window": 3, "stride": 2}, ((3, 5), (2, 5))),
            ({"window": (4, 2), "stride": (3, 1)}, ((4, 2), (3, 1))),
        ):
            found = occlusion(s.model, s.inputs, s.target, **given)
            with torch.no_grad():
                theirs = captum.Occlusion(s.model).attribute(s.inputs, *captums, target=s.target)
            close(found.values, theirs)

    @pytest.mark.parametrize("kind", ["lstm", "bert"])
    def test_equals_captums_on_token_ids(self, samples, kind):
        s = samples[kind]
        for window, stride in ((1, 1), (3, 2)):
            found = occlusion(s.model, s.inputs, s.target, 1, window=window, stride=stride)
            with torch.no_grad():
                theirs = captum.Occlusion(s.model).attribute(s.inputs, (window,), stride, target=s.target, baselines=1)
            close(found.values, theirs.float())

    def test_windows_are_no_larger_than_small_images(self):
        x = torch.rand(2, 1, 5, 20)
        found = occlusion(lambda x: x.sum((1, 2, 3)), x)
        assert found.forwards == 2 * (1 + 4)  # 5 × 8 pixels by half: places 0, 4, 8, 12
        assert found.values.shape == x.shape

    def test_one_forward_for_each_place_of_each_example(self, samples):
        s = samples["cnn"]
        assert occlusion(s.model, s.inputs, s.target).forwards == 2 * (1 + 3 * 3)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"window": (8, 8)}, "3 × 16 × 16: one integer, or 3 of them"),
            ({"window": 17}, "window=17"),
            ({"window": 0}, "window=0"),
            ({"window": 4.0}, "window=4.0"),
            ({"window": True}, "window=True"),
            ({"window": (4, 4, 4)}, "window=(4, 4, 4)"),
            ({"window": 4, "stride": 5}, "from 1 to the window's 3 × 4 × 4"),
            ({"window": 4, "stride": 0}, "stride=0"),
            ({"stride": (4, 4)}, "stride=(4, 4)"),
        ],
    )
    def test_wrong_windows(self, given, message):
        with pytest.raises(InputError, match=re.escape(message)):
            occlusion(lambda x: x.sum((1, 2, 3)), torch.zeros(1, 3, 16, 16), **given)


class TestAblation:
    def test_of_a_linear_score(self, linear):
        model, x, base = linear
        found = ablation(model, x, 1, base)
        close(found.values, model.weights(1, x) * (x - base))
        assert found.forwards == 4 * 13
        assert found.gap is None

    @pytest.mark.parametrize("kind", ["cnn", "vit", "audio", "lstm", "bert"])
    def test_equals_captums(self, samples, kind):
        s = samples[kind]
        base = 1 if kind in IDS else 0.25
        groups = {4: grid(16, 16, 3, 2), 3: torch.arange(9)[:, None] // 2, 2: torch.arange(7) // 3}[s.inputs.ndim]
        found = ablation(s.model, s.inputs, s.target, base, groups=groups)
        mask = groups.expand(1, *s.inputs.shape[1:])
        with torch.no_grad():
            whole = captum.FeatureAblation(s.model).attribute(
                s.inputs, target=s.target, baselines=base, feature_mask=mask
            )
        players = Players(s.inputs, groups)
        close(players.collect(found.values), players.mean(whole.float()))

    def test_each_image_has_its_own_groups(self, samples):
        s, one = samples["cnn"], grid(16, 16, 2, 2)
        groups = torch.stack([one, one.T.flip(0)])[:, None]
        found = ablation(s.model, s.inputs, s.target, groups=groups).values
        for i in range(2):
            alone = ablation(s.model, s.inputs[i : i + 1], s.target[i : i + 1], groups=groups[i, 0]).values
            close(found[i : i + 1], alone)

    def test_a_player_that_changes_nothing_and_two_that_are_alike(self):
        x = torch.tensor([[2.0, 2, 5]])
        assert ablation(lambda x: x[:, 0] * x[:, 1], x).values.tolist() == [[4, 4, 0]]


class TestLime:
    def test_of_a_linear_score(self, linear):
        model, x, base = linear
        found = lime(model, x, 1, base, penalty=1e-9)
        close(found.values, model.weights(1, x) * (x - base))
        assert found.gap is None
        assert found.forwards <= 4 * 200

    @pytest.mark.parametrize(("budget", "width", "penalty"), [(200, 0.25, 1.0), (60, 0.5, 10.0), (13, 1e-3, 1e-3)])
    def test_is_scikit_learns_ridge_with_the_weights_of_the_authors_package(self, linear, budget, width, penalty):
        model, x, _ = linear

        def score(x):
            return model(x)[:, 1].tanh()

        found = lime(score, x, budget=budget, width=width, penalty=penalty, seed=3).values
        z = torch.rand(budget, 12, generator=torch.Generator().manual_seed(3)) < 0.5
        z[0] = True
        cosine = z.double().mean(1).sqrt().numpy()  # z · 1 / (|z| |1|)
        weight = np.sqrt(np.exp(-((1 - cosine) ** 2) / width**2))
        for i in range(4):  # one example at a time
            with torch.no_grad():
                v = score(torch.where(z, x[i], 0.0)).double().numpy()
            fit = Ridge(alpha=penalty).fit(z.double().numpy(), v, sample_weight=weight)
            close(found[i], fit.coef_, atol=1e-5)

    def test_the_share_of_a_player_is_spread_over_its_elements(self):
        x, groups = torch.ones(1, 2, 4, 4), grid(4, 4, 2, 2)
        found = lime(lambda x: 8 * x[:, 0, 0, 0], x, groups=groups, penalty=1e-9).values
        close(found, torch.where(groups == 0, 1.0, 0.0).expand(1, 2, 4, 4))

    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_few_players_cost_no_more_than_their_coalitions(self, n):
        found = lime(lambda x: x.sum(1), torch.ones(2, n), penalty=1e-9)
        close(found.values, torch.ones(2, n))
        assert found.forwards == 2 * 2**n

    def test_a_penalty_shrinks(self, linear):
        model, x, base = linear
        sizes = [lime(model, x, 1, base, penalty=penalty).values.norm() for penalty in (1e-6, 1.0, 100.0)]
        assert sizes[0] > sizes[1] > sizes[2]

    def test_the_seed_decides(self, linear):
        model, x, base = linear
        one, same, other = (lime(model, x, 1, base, seed=seed).values for seed in (0, 0, 1))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"budget": 12}, "at least 13 forwards for 12 players"),
            ({"width": 0}, "width=0"),
            ({"width": float("nan")}, "width=nan"),
            ({"penalty": 0.0}, "penalty=0.0"),
            ({"penalty": -1.0}, "penalty=-1.0"),
        ],
    )
    def test_wrong_numbers(self, linear, given, message):
        with pytest.raises(InputError, match=message):
            lime(linear[0], linear[1], 1, **given)


@pytest.mark.parametrize("method", METHODS)
class TestInputs:
    @pytest.mark.parametrize("kind", ["cnn", "vit", "audio", *IDS])
    def test_every_model_one_by_one_as_together_and_without_its_embedding(self, samples, method, kind):
        s = samples[kind]
        base = 1 if kind in IDS else None
        found = method(s.model, s.inputs, s.target, base, embedding=s.embedding)
        assert found.values.shape == s.inputs.shape
        assert found.values.dtype == torch.float32
        assert found.values.isfinite().all()
        assert found.method == method.__name__
        assert found.backwards == 0
        target = [s.target if isinstance(s.target, int | tuple) else s.target[i : i + 1] for i in range(2)]
        alone = [method(s.model, s.inputs[i : i + 1], target[i], base).values for i in range(2)]
        close(found.values, torch.cat(alone), atol=1e-5)

    def test_a_later_token_changes_nothing_of_an_earlier_score(self, samples, method):
        s = samples["gpt2"]
        found = method(s.model, s.inputs, (4, 7), 1)
        if method is not lime:
            close(found.values[:, 5:], torch.zeros(2, 2), atol=1e-6)
        assert found.values[:, :5].abs().amin(0).max() > 1e-4

    def test_double_stays_double(self, linear, method):
        model, x, base = linear
        found = method(model.double(), x.double(), 1, base.double())
        assert found.values.dtype == torch.float64

    def test_a_baseline_for_each_example(self, linear, method):
        model, x, _ = linear
        base = torch.randn(4, 12)
        given = {"penalty": 1e-9} if method is lime else {}
        close(method(model, x, 1, base, **given).values, model.weights(1, x) * (x - base))

    def test_rows_that_do_not_fit_into_memory(self, samples, method):
        s = samples["cnn"]

        def tight(x):
            if len(x) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
            return s.model(x)

        with pytest.warns(UserWarning, match="do not fit into memory"):
            found = method(tight, s.inputs, s.target)
        assert any("rows at once do not fit" in note for note in found.notes)
        close(found.values, method(s.model, s.inputs, s.target).values, atol=1e-5)

    def test_ids_need_a_baseline(self, samples, method):
        s = samples["lstm"]
        with pytest.raises(InputError, match="a baseline for token ids"):
            method(s.model, s.inputs, s.target, embedding=s.embedding)

    def test_wrong_groups(self, method):
        if method is not occlusion:
            with pytest.raises(InputError, match="broadcast"):
                method(lambda x: x.sum(1), torch.ones(1, 3), groups=torch.arange(2))
