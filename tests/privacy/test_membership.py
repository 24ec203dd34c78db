"""Attack reports against scikit-learn and simulation, the likelihood ratio against SciPy, exposure by hand."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from bigmodel_lab.errors import InputError
from bigmodel_lab.privacy import attack_report, confidence, exposure, lira


def normal(shift, members=300, others=500, seed=0, digits=None):
    generator = np.random.default_rng(seed)
    scores = generator.normal(shift, 1, members), generator.normal(0, 1, others)
    return scores if digits is None else tuple(s.round(digits) for s in scores)


def together(members, others):
    return np.r_[np.ones(len(members)), np.zeros(len(others))], np.r_[members, others]


class TestAttackReport:
    @pytest.mark.parametrize("digits", [None, 1, 0], ids=["distinct", "some ties", "many ties"])
    @pytest.mark.parametrize("shift", [-1.0, 0.0, 2.0])
    @pytest.mark.parametrize("fpr", [0.01, 0.05, 0.5])
    def test_equals_scikit_learn(self, shift, digits, fpr):
        members, others = normal(shift, digits=digits)
        report = attack_report(members, others, fpr=fpr)
        false, true, _ = roc_curve(*together(members, others), drop_intermediate=False)
        assert report.auc == pytest.approx(roc_auc_score(*together(members, others)))
        assert report.tpr == pytest.approx(true[false <= fpr + 1e-12].max())
        assert (report.members, report.non_members, report.fpr) == (300, 500, fpr)

    def test_interval_agrees_with_the_bootstrap(self):
        members, others = normal(1.0)
        report, generator = attack_report(members, others), np.random.default_rng(1)
        draws = [
            attack_report(generator.choice(members, len(members)), generator.choice(others, len(others))).auc
            for _ in range(1000)
        ]
        assert (report.low, report.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.006)

    @pytest.mark.parametrize("shift", [0.0, 1.0])
    def test_interval_holds_the_true_auc_as_often_as_it_says(self, shift):
        true = 0.5 * (1 + math.erf(shift / 2))  # P(N(shift, 1) > N(0, 1))
        reports = [attack_report(*normal(shift, 60, 80, seed)) for seed in range(400)]
        assert 0.92 < np.mean([r.low <= true <= r.high for r in reports]) < 0.98
        wrong = np.mean([r.low <= true + 0.15 <= r.high for r in reports])
        assert wrong < 0.3, "an interval that holds everything would pass too"

    def test_perfect_separation_is_not_certainty(self):
        report = attack_report(np.arange(20.0) + 100, np.arange(20.0))
        assert report.auc == report.tpr == report.high == 1
        assert 0.75 < report.low < 0.97
        assert attack_report(np.arange(200.0) + 500, np.arange(200.0)).low > report.low
        reverse = attack_report(np.arange(20.0), np.arange(20.0) + 100)
        assert (reverse.low, reverse.high) == pytest.approx((1 - report.high, 1 - report.low))

    def test_equal_scores_are_a_guess(self):
        report = attack_report(np.zeros(50), np.zeros(50))
        assert report.auc == 0.5
        assert report.tpr == 0
        assert report.low < 0.5 < report.high

    def test_few_non_members_allow_no_false_alarm(self):
        members, others = torch.tensor([3.0, 1.0, 0.5]), torch.tensor([2.0, 0.0])
        assert attack_report(members, others, fpr=0.01).tpr == pytest.approx(1 / 3)

    def test_says_it_in_one_line(self):
        assert str(attack_report([2.0, 3.0], [0.0, 1.0])).startswith("AUC 1.000 [")

    @pytest.mark.parametrize(
        ("members", "others", "options"),
        [
            ([1.0, math.nan], [0.0, 1.0], {}),
            ([1.0, 2.0], [0.0, math.inf], {}),
            ([], [0.0, 1.0], {}),
            ([1.0], [0.0, 1.0], {}),
            ([[1.0, 2.0]], [0.0, 1.0], {}),
            (["a", "b"], [0.0, 1.0], {}),
            ([1.0, 2.0], [0.0, 1.0], {"fpr": 0.0}),
            ([1.0, 2.0], [0.0, 1.0], {"level": 1.0}),
        ],
        ids=["nan", "infinite", "empty", "one", "matrix", "words", "fpr 0", "level 1"],
    )
    def test_refuses(self, members, others, options):
        with pytest.raises(InputError):
            attack_report(members, others, **options)


class TestConfidence:
    def test_is_the_logit_of_the_probability(self):
        p = np.array([0.001, 0.3, 0.5, 0.999])
        assert confidence(-np.log(p)) == pytest.approx(np.log(p / (1 - p)))

    def test_stays_finite_at_the_ends(self):
        values = confidence(torch.tensor([0.0, 1e-30, 200.0]))
        assert np.isfinite(values).all()
        assert values[0] == values[1] == pytest.approx(-math.log(1e-12))
        assert values[2] == pytest.approx(-200)

    @pytest.mark.parametrize("bad", [[-0.1], [math.nan], [math.inf]])
    def test_refuses(self, bad):
        with pytest.raises(InputError):
            confidence(bad)


def world(models=40, examples=300, effect=1.0, seed=0):
    """Losses of models that are `effect` more confident about what they were trained on; examples differ widely."""
    generator = np.random.default_rng(seed)
    inside = generator.random((models, examples)) < 0.5
    c = generator.normal(0, 3, examples) + effect * inside + generator.normal(0, 1, inside.shape)
    return np.logaddexp(0, -c), inside  # -ln sigmoid(c)


class TestLira:
    def test_equals_scipy_with_shared_variances(self):
        from scipy.stats import norm

        losses, inside = world()
        c, expected = confidence(losses), 0
        for sign, which in ((1, inside[1:]), (-1, ~inside[1:])):
            groups = [c[1:][which[:, n], n] for n in range(c.shape[1])]
            variance = sum(((g - g.mean()) ** 2).sum() for g in groups) / sum(len(g) - 1 for g in groups)
            expected = expected + sign * norm.logpdf(c[0], [g.mean() for g in groups], math.sqrt(variance))
        assert lira(losses[0], losses[1:], inside[1:]) == pytest.approx(expected, rel=1e-6)

    def test_beats_the_threshold_where_examples_differ(self):
        losses, inside = world(examples=2000, effect=1.5)
        score = lira(losses[0], losses[1:], inside[1:])
        better = attack_report(score[inside[0]], score[~inside[0]])
        plain = attack_report(-losses[0][inside[0]], -losses[0][~inside[0]])
        assert better.low > plain.high + 0.05

    def test_control_without_an_effect_is_a_guess(self):
        losses, inside = world(examples=2000, effect=0.0)
        score = lira(losses[0], losses[1:], inside[1:])
        report = attack_report(score[inside[0]], score[~inside[0]])
        assert report.low < 0.5 < report.high

    def test_refuses_too_few_models_and_wrong_shapes(self):
        losses, inside = world(models=8, examples=5)
        inside[:] = False
        inside[:4] = True
        assert np.isfinite(lira(losses[0], losses, inside)).all()
        with pytest.raises(InputError, match="two reference models"):
            lira(losses[0], losses[3:], inside[3:])  # one with each example
        with pytest.raises(InputError, match="booleans"):
            lira(losses[0], losses, inside.astype(float))
        with pytest.raises(InputError, match="inside"):
            lira(losses[0], losses, inside[:, :3])
        with pytest.raises(InputError, match="NaN"):
            lira(losses[0] * math.nan, losses, inside)


class TestExposure:
    def test_by_hand(self):
        others = np.arange(1.0, 8.0)  # with the secret, eight
        assert exposure(0.5, others) == 3
        assert exposure(1.5, others) == 2
        assert exposure(9.0, others) == 0

    def test_ties_count_against_the_secret(self):
        assert exposure(1.0, np.ones(7)) == 0

    def test_by_luck_is_log2_of_e(self):
        generator = np.random.default_rng(0)
        values = [exposure(row[0], row[1:]) for row in generator.random((4000, 256))]
        assert np.mean(values) == pytest.approx(math.log2(math.e), abs=0.08)

    @pytest.mark.parametrize(("loss", "others"), [(1.0, []), (math.nan, [1.0]), (1.0, [math.inf]), (-1.0, [1.0])])
    def test_refuses(self, loss, others):
        with pytest.raises(InputError):
            exposure(loss, others)
