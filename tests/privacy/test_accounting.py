"""Budgets against the closed form of the Gaussian mechanism, against each other, and the limit of every attack."""

import math
import warnings

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from bigmodel_lab.errors import InputError
from bigmodel_lab.privacy import epsilon, gaussian_delta, noise_for, tpr_bound


def exact(noise, steps, delta):
    """The exact epsilon of Gaussian steps that see every example."""
    return brentq(lambda e: gaussian_delta(e, noise, steps) - delta, 0, 200)


class TestEpsilon:
    @pytest.mark.parametrize(("noise", "steps"), [(1.0, 1), (2.0, 1), (5.0, 10), (20.0, 200)])
    @pytest.mark.parametrize("delta", [1e-2, 1e-5])
    def test_without_sampling_equals_the_closed_form(self, noise, steps, delta):
        true = exact(noise, steps, delta)
        assert true <= epsilon(noise, 1.0, steps, delta) <= true + 0.025
        assert true <= epsilon(noise, 1.0, steps, delta, accountant="rdp") <= 1.35 * true + 0.05

    def test_rdp_is_never_below_prv(self):
        for noise, rate, steps in ((0.8, 0.1, 100), (1.0, 0.05, 400), (4.0, 0.2, 60)):
            tight = epsilon(noise, rate, steps, 1e-3)
            loose = epsilon(noise, rate, steps, 1e-3, accountant="rdp")
            assert tight < loose < 1.5 * tight

    def test_one_sampled_step_equals_its_exact_value(self):
        # with probability q a Gaussian step: delta(eps) of the mixture has a closed form (add direction of Zhu et al.)
        q, noise, delta = 0.2, 1.0, 1e-3

        def mixture(e):  # P = (1-q) N(0, 1) + q N(1, 1) at noise 1, P' = N(0, 1): P(x > t) - exp(e) P'(x > t)
            t = math.log((math.exp(e) - 1 + q) / q) + 0.5
            return (1 - q) * norm.sf(t) + q * norm.sf(t - 1) - math.exp(e) * norm.sf(t)

        true = brentq(lambda e: mixture(e) - delta, 1e-6, 20)
        assert true <= epsilon(noise, q, 1, delta) <= true + 0.025

    def test_grows_with_steps_and_rate_and_falls_with_noise(self):
        middle = epsilon(1.5, 0.1, 100, 1e-3)
        assert epsilon(1.5, 0.1, 200, 1e-3) > middle
        assert epsilon(1.5, 0.2, 100, 1e-3) > middle
        assert epsilon(2.5, 0.1, 100, 1e-3) < middle
        assert epsilon(1.5, 0.1, 100, 1e-2) < middle

    def test_ends(self):
        assert epsilon(0.0, 0.1, 10, 1e-3) == math.inf
        assert epsilon(1.0, 0.1, 0, 1e-3) == epsilon(1.0, 0.0, 10, 1e-3) == 0
        assert epsilon(0.0, 0.1, 0, 1e-3) == 0

    def test_warns_of_nothing_and_leaves_the_filters(self):
        before = list(warnings.filters)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            epsilon(0.7, 0.1, 50, 1e-3)
            epsilon(30.0, 0.01, 3, 1e-2, accountant="rdp")  # beyond the largest order
        assert not caught
        assert list(warnings.filters) == before

    @pytest.mark.parametrize(
        ("arguments", "options"),
        [
            ((-1.0, 0.1, 10, 1e-3), {}),
            ((math.nan, 0.1, 10, 1e-3), {}),
            ((math.inf, 0.1, 10, 1e-3), {}),
            ((1.0, 1.1, 10, 1e-3), {}),
            ((1.0, math.nan, 10, 1e-3), {}),
            ((1.0, 0.1, -1, 1e-3), {}),
            ((1.0, 0.1, 2.5, 1e-3), {}),
            ((1.0, 0.1, 10, 0.0), {}),
            ((1.0, 0.1, 10, 1.0), {}),
            ((1.0, 0.1, 10, 1e-3), {"accountant": "gdp"}),
        ],
        ids=lambda value: repr(value),
    )
    def test_refuses(self, arguments, options):
        with pytest.raises(InputError):
            epsilon(*arguments, **options)


class TestNoiseFor:
    @pytest.mark.parametrize("target", [0.5, 3.0])
    @pytest.mark.parametrize("accountant", ["prv", "rdp"])
    def test_keeps_the_budget_and_no_less_noise_would(self, target, accountant):
        noise = noise_for(target, 0.2, 60, 1e-3, accountant=accountant)
        assert epsilon(noise, 0.2, 60, 1e-3, accountant=accountant) <= target
        assert epsilon(noise / 1.002, 0.2, 60, 1e-3, accountant=accountant) > target

    def test_without_sampling_grows_with_the_root_of_the_steps(self):
        assert noise_for(2.0, 1.0, 40, 1e-3) / noise_for(2.0, 1.0, 10, 1e-3) == pytest.approx(2, rel=0.01)

    def test_nothing_to_hide_needs_none(self):
        assert noise_for(1.0, 0.1, 0, 1e-3) == 0

    @pytest.mark.parametrize("target", [0.0, -1.0, math.nan, math.inf, "3"])
    def test_refuses(self, target):
        with pytest.raises(InputError):
            noise_for(target, 0.1, 10, 1e-3)


class TestGaussianDelta:
    def test_equals_the_integral(self):
        x = np.linspace(-30, 30, 200_001)
        for eps, noise, steps in ((0.5, 1.0, 1), (2.0, 0.7, 1), (1.0, 3.0, 4)):
            mu = math.sqrt(steps) / noise
            gain = np.maximum(norm.pdf(x - mu) - math.exp(eps) * norm.pdf(x), 0)
            assert gaussian_delta(eps, noise, steps) == pytest.approx(np.trapezoid(gain, x), rel=1e-4)

    @pytest.mark.parametrize("bad", [(-1.0, 1.0), (1.0, 0.0), (1.0, math.nan), (1.0, 1.0, 0)])
    def test_refuses(self, bad):
        with pytest.raises(InputError):
            gaussian_delta(*bad)


class TestTprBound:
    def test_by_hand(self):
        assert tpr_bound(0.01, 1.0, 0.001) == pytest.approx(math.e * 0.01 + 0.001)
        assert tpr_bound([0.0, 1.0], 0.0, 0.0) == pytest.approx([0, 1])
        assert tpr_bound(0.3, 0.0, 0.05) == pytest.approx(0.35)
        assert (tpr_bound(np.linspace(0, 1, 5), math.inf, 0.0) == 1).all()

    def test_no_attack_on_a_gaussian_step_exceeds_it_and_a_smaller_epsilon_would_be_exceeded(self):
        fpr = np.linspace(1e-4, 1 - 1e-4, 999)
        best = norm.sf(norm.isf(fpr) - 1 / 2.0)  # the optimal test of one step with noise 2
        true = exact(2.0, 1, 1e-3)
        assert (best <= tpr_bound(fpr, true, 1e-3) + 1e-9).all()
        assert (best > tpr_bound(fpr, 0.7 * true, 1e-3)).any()

    @pytest.mark.parametrize("bad", [(1.5, 1.0, 0.0), (math.nan, 1.0, 0.0), (0.1, -1.0, 0.0), (0.1, 1.0, 2.0)])
    def test_refuses(self, bad):
        with pytest.raises(InputError):
            tpr_bound(*bad)
