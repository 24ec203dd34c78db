"""A board scores what it is told to, keeps reasons for what it cannot, and comes back from JSON as it was."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from bigmodel_lab import plot
from bigmodel_lab.errors import InputError
from bigmodel_lab.explain import controls
from bigmodel_lab.explain.agreement import bootstrap, kendall, ranks
from bigmodel_lab.explain.boards import Board, Case, board
from bigmodel_lab.explain.contract import running
from bigmodel_lab.explain.methods.attention import attention_rollout
from bigmodel_lab.explain.methods.cam import grad_cam
from bigmodel_lab.explain.methods.gradients import input_x_gradient, saliency
from bigmodel_lab.explain.metrics import METRICS as METRICS_OF_THE_LIBRARY
from bigmodel_lab.models.attention import attention_maps
from bigmodel_lab.models.transformer import TextClassifier, TransformerConfig


@dataclass(frozen=True)
class Metric:
    """The parts of `explain.metrics.Metric` that a board looks at."""

    function: object
    higher_is_better: bool = True


class Window(nn.Module):
    """A model of which it is known what it reads: class 1 is the mean of the upper left quarter, class 0 nothing."""

    def forward(self, x):
        seen = x[:, :, : x.shape[2] // 2, : x.shape[3] // 2].mean((1, 2, 3))
        return torch.stack([0 * seen, seen], dim=1)


class Words(nn.Module):
    """Ids (B, T) -> (B, 2), linear in the sum of the embeddings."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(10, 4), nn.Linear(4, 2)

    def forward(self, ids):
        return self.head(self.embedding(ids).sum(1))


def mass(values, truth):
    """The share of |values| inside the truth."""
    heat = values.sum(1).abs() if values.ndim == 4 else values.abs()
    return (heat * truth).flatten(1).sum(1) / heat.flatten(1).sum(1).clamp(min=1e-9)


def size(values):
    return values.flatten(1).abs().amax(1)


def change(explain, inputs):
    """How much the values change with the inputs."""
    return (explain(inputs) - explain(inputs + 0.1)).flatten(1).norm(dim=1)


def images(count=6):
    torch.manual_seed(0)
    truth = torch.zeros(count, 8, 8, dtype=torch.bool)
    truth[:, :4, :4] = True
    return Case(forward=Window().eval(), inputs=torch.rand(count, 3, 8, 8), target=1, truth=truth)


def words():
    torch.manual_seed(0)
    model = Words().eval()
    ids = torch.randint(0, 10, (5, 7))
    return Case(forward=model, inputs=ids, target=1, baseline=0, truth=ids == 3, embedding=model.embedding)


def layered(forward, inputs, target=None, baseline=None, *, layer):
    return saliency(forward, inputs, target)


def broken(forward, inputs, target=None, baseline=None, *, embedding=None):
    with running("broken", forward, inputs, target, baseline, embedding=embedding, discrete=True):
        raise RuntimeError("this one\n  never works")


METHODS = {"saliency": saliency, "layered": layered, "broken": broken}
METRICS = {"mass": Metric(mass), "size": Metric(size, higher_is_better=False), "change": Metric(change)}


@pytest.fixture(scope="module")
def made():
    return board(METHODS, METRICS, {"images": images(), "words": words()}, few=2, resamples=50)


def test_scores_are_the_metrics_of_the_method(made):
    case = images()
    expected = mass(saliency(case.forward, case.inputs, 1).values, case.truth).mean()
    mean, low, high = made.scores("mass", "images")["saliency"]
    assert mean == pytest.approx(expected.item()) == pytest.approx(1.0)
    assert low <= mean <= high


def test_the_planted_truth_wins_and_noise_does_not(made):
    scores = {name: row[0] for name, row in made.scores("mass", "images").items()}
    assert scores["oracle"] == pytest.approx(1.0)
    assert scores["random"] == pytest.approx(0.25, abs=0.05)
    assert scores["random"] < 0.9 * scores["saliency"]
    assert made.ranks("mass", "images")["saliency"] == pytest.approx(1.5)  # as good as the oracle
    assert made.ranks("size", "images", controls=False) == {"saliency": 1.0}


def test_an_empty_cell_keeps_its_reason(made):
    assert np.isnan(made.mean[1:3]).all()
    assert made.reasons["layered / words"] == "needs layer, which this case does not give"
    assert made.reasons["broken / images"] == "RuntimeError: this one never works"
    assert "broken, words" not in made.reasons
    # ids cannot be moved by 0.1: the metric fails on this case alone, whatever the method
    assert "saliency / change / words" in made.reasons
    assert np.isfinite(made.scores("change", "images")["saliency"][0])


def test_a_case_can_give_what_a_method_needs_or_say_that_it_has_no_place():
    case = images()
    given = Case(
        forward=case.forward, inputs=case.inputs, target=1, truth=case.truth, options={"layered": {"layer": None}}
    )
    without = Case(forward=case.forward, inputs=case.inputs, target=1, skip={"layered": "no layer to speak of"})
    found = board({"layered": layered}, {"size": Metric(size)}, {"given": given, "without": without}, resamples=10)
    assert np.isfinite(found.mean[0, 0]).tolist() == [True, False]
    assert found.reasons["layered / without"] == "no layer to speak of"
    assert found.reasons["oracle / without"] == "needs truth, which this case does not give"


def test_metrics_that_call_the_method_again_take_few_examples(made):
    row = made.examples[0, :, 0]
    assert dict(zip(made.metrics, row, strict=True)) == {"mass": 6, "size": 6, "change": 2}
    assert made.forwards[0].tolist() == [12, 10]  # the check and the explanation
    assert (made.forwards[3:] == 0).all()


def test_a_metric_may_explain_another_model_too():
    model = Words().eval()

    def randomised(explain, forward, inputs):
        other = Words().eval()
        return (explain(other, inputs) - explain(forward, inputs)).norm(dim=1)

    ids = torch.randint(0, 10, (4, 5))
    case = Case(forward=model, inputs=ids, target=1, baseline=0, embedding=model.embedding)
    bound = {"saliency": saliency, "bound": partial(saliency, embedding=model.embedding)}
    found = board(bound, {"randomised": Metric(randomised)}, {"words": case}, controls={}, resamples=10)
    assert found.reasons == {}
    assert (found.mean > 0).all()


def test_numbers_do_not_depend_on_what_else_is_scored(made):
    torch.manual_seed(77)
    alone = board({"saliency": saliency}, {"mass": METRICS["mass"]}, {"images": images()}, resamples=50)
    assert alone.scores("mass", "images") == {
        name: row for name, row in made.scores("mass", "images").items() if name in alone.methods
    }


def test_a_board_comes_back_from_json_as_it_was(made):
    again = Board.from_json(made.to_json())
    assert again == made
    np.testing.assert_array_equal(again.mean, made.mean)
    assert again.about["versions"]["torch"] == torch.__version__
    assert again.higher == (True, False, True)
    changed = Board.from_json(made.to_json().replace('"few": 2', '"few": 3'))
    assert changed != made
    with pytest.raises(InputError, match=r"no .*, high"):
        Board.from_json("{}")


def test_the_table_names_the_best_and_the_reasons(made):
    text = made.table(case="images")
    head, _, *rows = text.split("\n")
    assert head == "| images | mass ↑ | size ↓ | change ↑ |"
    assert rows[0].startswith("| saliency | **1.00** | **0.")
    assert "| layered | – | – | – |" in rows
    assert any(row.startswith("| *oracle* | 1.00 |") for row in rows)
    assert any(row.startswith(r"| *\|input\|* |") for row in rows)
    assert "- – broken / images: RuntimeError: this one never works" in rows
    assert not any("words" in row for row in rows)
    across = made.table(metric="mass", intervals=True).split("\n")
    assert across[0] == "| mass | images ↑ | words ↑ |"
    assert across[2].startswith("| saliency | **1.00 [1.00, 1.00]** |")
    with pytest.raises(InputError, match="one of them"):
        made.table()
    with pytest.raises(InputError, match="images, words"):
        made.table(case="video")


def test_a_case_is_drawn_as_a_table(made):
    arrays = made.arrays("words")
    np.testing.assert_array_equal(arrays["scores"], made.mean[:, :, 1])
    axes = plot.scoreboard(**arrays)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(made.methods)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"methods": {}}, "at least one of each"),
        ({"methods": {"random": saliency}}, "not called as controls"),
        ({"few": 0}, "few and resamples"),
        ({"level": 1.0}, "between 0 and 1"),
    ],
)
def test_a_board_of_nothing_is_refused(wrong, match):
    asked = {"methods": {"saliency": saliency}, "metrics": METRICS, "cases": {"images": images()}} | wrong
    with pytest.raises(InputError, match=match):
        board(asked.pop("methods"), asked.pop("metrics"), asked.pop("cases"), **asked)


def test_a_truth_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"booleans of shape \(2, 8, 8\)"):
        Case(forward=Window(), inputs=torch.rand(2, 3, 8, 8), target=1, truth=torch.ones(2, 8, 8))


class TestWithTheLibrary:
    """The board with the library's own metrics and methods, on models that nobody trained."""

    def test_every_metric_scores_images_and_texts(self):
        torch.manual_seed(0)
        convolution = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        model = nn.Sequential(*convolution, nn.Linear(4, 3)).eval()
        truth = torch.zeros(4, 8, 8, dtype=torch.bool)
        truth[:, 2:4, 2:4] = True
        inputs, marks = torch.rand(4, 3, 8, 8), {"truth": truth, "distractor": truth.flip(1)}
        pictures = Case(forward=model, inputs=inputs, target=torch.tensor([0, 1, 2, 0]), **marks)
        text = words()
        texts = replace(text, distractor=text.inputs == 4)
        methods = {"saliency": saliency, "input × gradient": input_x_gradient, "grad_cam": grad_cam}
        found = board(methods, list(METRICS_OF_THE_LIBRARY), {"pictures": pictures, "texts": texts}, resamples=20)
        assert set(found.reasons) == {"grad_cam / texts"}
        assert found.higher == tuple(metric.higher_is_better for metric in METRICS_OF_THE_LIBRARY.values())
        filled = np.isfinite(found.mean)
        assert filled[:, :, 0].all()
        assert filled[[0, 1, 3, 4, 5, 6], :, 1].all()
        for name in ("relevance_mass", "relevance_rank", "pointing_game", "pixel_auc"):
            assert next(iter(found.ranks(name, "pictures"))) == "oracle"

    def test_a_copy_of_the_model_is_explained_with_the_copys_own_parts(self):
        torch.manual_seed(0)
        config = TransformerConfig(vocabulary=12, width=8, heads=2, depth=1, context=6)
        model = TextClassifier(config).eval()
        case = Case(
            forward=model,
            inputs=torch.randint(1, 12, (4, 6)),
            target=1,
            baseline=1,
            embedding=model.encoder.embed.tokens,
            options={"attention_rollout": {"maps": partial(attention_maps, model)}},
        )
        found = board({"attention_rollout": attention_rollout}, ["randomisation"], {"text": case}, controls={})
        assert found.reasons == {}
        assert found.scores("randomisation", "text")["attention_rollout"][0] < 0.99  # the copy attends otherwise

    def test_a_metric_of_another_name_is_refused(self):
        with pytest.raises(InputError, match="'beauty'"):
            board({"saliency": saliency}, ["gini", "beauty"], {"images": images()})


class TestAgreement:
    def test_the_interval_covers_the_mean_nineteen_times_in_twenty(self):
        scores = np.random.default_rng(0).normal(0.3, 1.0, (400, 40))
        mean, low, high = bootstrap(scores, resamples=500)
        np.testing.assert_allclose(mean, scores.mean(1))
        assert 0.90 < ((low < 0.3) & (high > 0.3)).mean() < 0.97
        np.testing.assert_allclose((high - low).mean() / 2, 1.96 / 40**0.5, rtol=0.05)

    def test_examples_that_are_not_judged_are_left_out(self):
        scores = np.array([[1.0, 2, np.nan, 3], [np.nan] * 4])
        mean, low, high = bootstrap(scores, resamples=200)
        assert mean[0] == 2
        assert 1 <= low[0] < 2 < high[0] <= 3
        assert np.isnan([mean[1], low[1], high[1]]).all()

    def test_ranks_share_ties_and_leave_out_the_unknown(self):
        scores = np.array([0.2, 0.9, np.nan, 0.2])
        np.testing.assert_array_equal(ranks(scores, higher_is_better=True), [2.5, 1, np.nan, 2.5])
        np.testing.assert_array_equal(ranks(scores, higher_is_better=False), [1.5, 3, np.nan, 1.5])

    def test_tau_counts_pairs_in_the_same_order(self):
        first = np.array([1.0, 2, 3, 4])
        assert kendall(first, first) == pytest.approx(1)
        assert kendall(first, -first) == pytest.approx(-1)
        assert kendall(first, np.array([1.0, 2, 4, 3])) == pytest.approx(4 / 6)  # 5 pairs agree, 1 does not
        assert np.isnan(kendall(first, np.array([1.0, 2, np.nan, np.nan])))
        assert np.isnan(kendall(first, np.ones(4)))


def test_the_board_says_how_metrics_and_cases_agree():
    def known(scores):
        def metric(values):
            return torch.full((len(values),), scores[int(values.flatten()[0])])

        return Metric(metric)

    def constant(number, forward, inputs, target=None, baseline=None):
        return controls._explanation("constant", torch.full(inputs.shape, float(number)))

    methods = {str(n): partial(constant, n) for n in range(4)}
    metrics = {"up": known([0.1, 0.2, 0.3, 0.4]), "down": Metric(known([0.1, 0.2, 0.3, 0.4]).function, False)}
    metrics["other"] = known([0.1, 0.2, 0.4, 0.3])
    found = board(methods, metrics, {"a": images(3), "b": images(2)}, controls={}, resamples=10)
    expected = [[1, -1, 2 / 3], [-1, 1, -2 / 3], [2 / 3, -2 / 3, 1]]
    np.testing.assert_allclose(found.metric_agreement("a"), expected)
    np.testing.assert_allclose(found.case_agreement("other"), np.ones((2, 2)))


class TestControls:
    def test_edges_are_where_a_square_begins(self):
        picture = torch.zeros(1, 3, 9, 9)
        picture[:, :, 3:6, 3:6] = 1
        heat = controls.edges(None, picture).values.sum(1)[0]
        assert heat[0].sum() == 0
        assert heat[4, 4] == 0
        assert heat[4, 2] == heat[4, 6] == heat[2, 4] == pytest.approx(3 * 0.5)  # a step of 1, on both its sides

    def test_edges_of_numbers_in_time_are_the_steps(self):
        series = torch.tensor([[[0.0], [0], [2], [1]]])
        assert controls.edges(None, series).values.flatten().tolist() == [0, 0, 2, 1]

    def test_rare_tokens_stand_out(self):
        values = controls.edges(None, torch.tensor([[1, 1, 2], [1, 3, 3]])).values
        torch.testing.assert_close(values[0], torch.tensor([2.0, 2.0, 6.0]).log())

    def test_the_size_of_a_token_is_that_of_its_embedding(self):
        embedding = nn.Embedding(4, 3)
        ids = torch.tensor([[0, 2]])
        values = controls.magnitude(None, ids, embedding=embedding).values
        torch.testing.assert_close(values, embedding(ids).norm(dim=-1).detach())
        with pytest.raises(InputError, match="an embedding"):
            controls.magnitude(None, ids)

    def test_noise_differs_from_call_to_call(self):
        inputs = torch.zeros(1, 4)
        assert not torch.equal(controls.random(None, inputs).values, controls.random(None, inputs).values)

    def test_the_truth_is_spread_over_channels(self):
        truth = torch.tensor([[[True, False]]])
        values = controls.oracle(None, torch.rand(1, 3, 1, 2), truth=truth).values
        assert values.tolist() == [[[[1.0, 0.0]]] * 3]
        with pytest.raises(InputError, match=r"a truth of shape \(2, 1, 2\)"):
            controls.oracle(None, torch.rand(2, 3, 1, 2), truth=truth)
