"""Metrics of planted truth: by hand, at their best, worst and chance values, with ties, and for empty masks."""

import pytest
import torch

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.metrics import distractor_mass, pixel_auc, pointing_game, relevance_mass, relevance_rank

RANKED = [relevance_mass, relevance_rank, pointing_game, pixel_auc]
ALL = [*RANKED, distractor_mass]
HAND = torch.tensor([[4.0, -3.0, 2.0, 1.0, 0.0]])  # the sign does not count
TRUE = torch.tensor([[False, True, False, True, False]])


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (relevance_mass, 4 / 10),
        (relevance_rank, 1 / 2),  # of 4 and 3, the second
        (pointing_game, 0.0),
        (pixel_auc, 3 / 6),  # 3 > 2, 3 > 0, 1 > 0 of six pairs
        (distractor_mass, 4 / 10),
    ],
)
def test_by_hand(metric, expected):
    assert metric(HAND, TRUE).tolist() == pytest.approx([expected])


def test_channels_are_summed_before_the_sign_goes():
    values = torch.tensor([[[[1.0, 5.0]], [[2.0, -5.0]]]])  # (1, 2, 1, 2): the second place cancels
    assert relevance_mass(values, torch.tensor([[[True, False]]])).tolist() == [1.0]
    steps = torch.tensor([[[1.0, 2.0], [5.0, -4.0]]])  # (1, T = 2, D = 2): heat 3 and 1
    assert relevance_mass(steps, torch.tensor([[True, False]])).tolist() == [0.75]
    entries = torch.tensor([[[True, False], [False, False]]])  # marked entry by entry: 1 of 12
    assert relevance_mass(steps, entries).tolist() == pytest.approx([1 / 12])


@pytest.mark.parametrize("shape", [(3, 2, 6, 6), (3, 8, 4), (3, 12)])
@pytest.mark.parametrize("metric", RANKED)
def test_the_truth_scores_1_and_its_inverse_0(metric, shape):
    places = (3, 6, 6) if len(shape) == 4 else shape[:2]
    truth = torch.zeros(places, dtype=torch.bool)
    truth[:, :2] = True
    wide = truth.unsqueeze(1) if len(shape) == 4 else truth.unsqueeze(-1) if len(shape) == 3 else truth
    assert metric(wide.float().expand(shape), truth).tolist() == [1.0] * 3
    assert metric((~wide).float().expand(shape), truth).tolist() == [0.0] * 3
    assert metric((~wide).float().expand(shape), ~truth).tolist() == [1.0] * 3


@pytest.mark.parametrize("metric", ALL)
def test_a_map_without_content_scores_as_chance_and_so_does_noise_on_average(metric):
    truth = torch.zeros(400, 4, 5, dtype=torch.bool)
    truth[:, 0] = True
    chance = 0.5 if metric is pixel_auc else 0.25
    for flat in (0.0, 1.0):
        assert metric(torch.full((400, 1, 4, 5), flat), truth).tolist() == pytest.approx([chance] * 400)
    noise = torch.rand(400, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    assert metric(noise, truth).mean().item() == pytest.approx(chance, abs=0.05)


@pytest.mark.parametrize("metric", ALL)
def test_neither_scale_nor_sign_nor_other_examples_count(metric):
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(5, 3, 4, 4, generator=generator)
    truth = torch.rand(5, 4, 4, generator=generator) < 0.4
    scores = metric(values, truth)
    torch.testing.assert_close(metric(-1000 * values, truth), scores)
    torch.testing.assert_close(metric(values[2:3], truth[2:3]), scores[2:3])
    assert scores.dtype == torch.float64


def test_tied_places_share():
    values, truth = torch.tensor([[2.0, 1.0, 1.0, 1.0]]), torch.tensor([[True, True, False, False]])
    assert relevance_rank(values, truth).tolist() == pytest.approx([(1 + 1 / 3) / 2])
    assert pointing_game(torch.tensor([[1.0, 1.0, 1.0, 0.0]]), truth).tolist() == pytest.approx([2 / 3])
    assert pixel_auc(values, truth).tolist() == pytest.approx([(2 + 2 * 0.5) / 4])


@pytest.mark.parametrize("metric", ALL)
def test_nothing_marked_is_not_judged(metric):
    truth = torch.tensor([[False, False], [True, False], [True, True]])
    scores = metric(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]), truth)
    assert scores[0].isnan()
    assert scores[1] == 1
    assert scores[2].isnan() if metric is pixel_auc else scores[2] == 1


@pytest.mark.parametrize("metric", ALL)
def test_what_does_not_fit_is_refused(metric):
    values, truth = torch.rand(2, 3, 4, 4), torch.ones(2, 4, 4, dtype=torch.bool)
    with pytest.raises(InputError, match="as booleans of shape \\(2, 4, 4\\)"):
        metric(values, truth[:, :3])
    with pytest.raises(InputError, match=r"got:      torch.float32 of shape(.|\n)*> 0"):
        metric(values, truth.float())
    with pytest.raises(InputError, match="got:      str"):
        metric(values, "a mask")
    with pytest.raises(InputError, match="NaN or infinity in 1 of 2 examples"):
        metric(values.index_fill(0, torch.tensor([1]), torch.nan), truth)
    with pytest.raises(InputError, match="values \\(B, C, H, W\\)"):
        metric(values[0, 0, 0], truth)
