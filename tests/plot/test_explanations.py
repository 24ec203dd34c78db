"""Heat maps lie over their images on the scale that the colour bar names; attention shows its weights."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from bigmodel_lab import plot
from bigmodel_lab.errors import InputError


def maps(names, count=2, signed=True):
    low = -1.0 if signed else 0.0
    return {name: torch.empty(count, 3, 6, 5).uniform_(low, 1.0) for name in names}


def label():
    return plt.gcf().axes[-1].get_xlabel()


def test_rows_are_examples_and_columns_the_image_and_its_maps(drawn):
    images, values = torch.rand(2, 3, 6, 5), maps(["saliency", "integrated_gradients"])
    axes = plot.attributions(images, values, names=["cat", "dog"])
    assert axes.shape == (2, 3)
    assert [ax.get_title() for ax in axes[0]] == ["image", "saliency", "integrated\ngradients"]
    assert [line[0].get_ylabel() for line in axes] == ["cat", "dog"]
    np.testing.assert_allclose(axes[1, 0].images[0].get_array(), images[1].permute(1, 2, 0))
    drawn()


def test_channels_are_summed_and_each_method_fills_its_scale():
    values = maps(["a", "b"])
    values["b"] = 100 * values["b"]
    axes = plot.attributions(torch.rand(2, 1, 6, 5), values, percentile=100)
    for ax, name in zip(axes[0, 1:], values, strict=True):
        whole = values[name].sum(1)
        np.testing.assert_allclose(ax.images[1].get_array(), whole[0] / whole.abs().max(), rtol=1e-5)
        assert ax.images[1].get_clim() == (-1, 1)
    assert "each method's 100th percentile" in label()


def test_a_global_scale_keeps_the_numbers():
    values = {name: value.sum(1) for name, value in maps(["a", "b", "c"]).items()}
    axes = plot.attributions(torch.rand(2, 6, 5), values, scale="global", label="change")
    for ax, name in zip(axes[1, 1:], values, strict=True):
        np.testing.assert_allclose(ax.images[1].get_array(), values[name][1], rtol=1e-5)
    assert len({ax.images[1].get_clim() for ax in axes[:, 1:].flat}) == 1
    assert label() == "change; the scale ends at the 99.5th percentile of all"


def test_positive_values_have_a_scale_that_starts_at_zero(drawn):
    axes = plot.attributions(torch.rand(2, 3, 6, 5), maps(["a"], signed=False)["a"])
    assert axes[0, 1].images[1].get_clim() == (0, 1)
    drawn()


def test_an_outlier_does_not_decide_the_scale():
    values = torch.rand(1, 20, 20)
    values[0, 0, 0] = 1e6
    axes = plot.attributions(torch.rand(1, 20, 20), values, scale="global")
    assert axes[0, 1].images[1].get_clim()[1] < 2


def test_many_methods_go_on_below_beside_the_image(drawn):
    axes = plot.attributions(torch.rand(2, 3, 6, 5), maps("abcde"), columns=4)
    assert axes.shape == (4, 4)
    assert [ax.get_title() for ax in axes[2][:3]] == ["image", "d", "e"]
    assert not axes[2, 3].get_visible()
    assert not axes[3, 3].get_visible()
    drawn()


def test_the_truth_is_outlined_along_the_edges_of_its_pixels(drawn):
    truth = torch.zeros(2, 6, 5, dtype=torch.bool)
    truth[0, 2:4, 0:3] = True  # at the rim too, where the line must close
    axes = plot.attributions(torch.rand(2, 3, 6, 5), maps(["a"]), truth=truth)
    drawn()
    (line,) = [one for one in axes[0, 1].collections if hasattr(one, "levels")]
    ends = line.get_paths()[0].get_extents()
    assert (ends.x0, ends.y0, ends.x1, ends.y1) == pytest.approx((-0.5, 1.5, 2.5, 3.5), abs=0.08)
    assert not axes[1, 1].collections


def test_values_of_zero_everywhere_are_drawn(drawn):
    plot.attributions(torch.rand(1, 4, 4), {"none": torch.zeros(1, 4, 4)})
    drawn()


def test_attention_is_the_weights_with_the_tokens_at_the_sides(drawn):
    weights = torch.softmax(torch.randn(3, 4, 4), -1)
    axes = plot.attention(weights, ["<s>", "a$b", "\n", "é"], columns=2)
    assert [ax.get_title() for ax in axes] == ["head 0", "head 1", "head 2"]
    np.testing.assert_array_equal(axes[2].images[0].get_array(), weights[2])
    assert all(ax.images[0].get_clim() == pytest.approx((0, float(weights.max()))) for ax in axes)
    assert [text.get_text() for text in axes[2].get_yticklabels()] == ["<s>", "a$b", "⏎", "é"]
    drawn()


def test_attention_of_one_head_and_of_many_tokens_is_readable(drawn):
    (ax,) = plot.attention(torch.full((60, 60), 1 / 60), [f"averylongword{i}" for i in range(60)])
    drawn()
    boxes = [text.get_window_extent() for text in ax.get_yticklabels()]
    assert all(not a.overlaps(b) for a, b in pairwise(boxes))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda: plot.attributions([], {"a": []}), "at least one image"),
        (lambda: plot.attributions(torch.rand(2, 6, 5), {}), "at least one method"),
        (lambda: plot.attributions(torch.rand(2, 6, 5), {"a": torch.rand(2, 5, 6)}), "values of a of shape"),
        (lambda: plot.attributions(torch.rand(2, 6, 5), {"a": torch.rand(1, 6, 5)}), "values of a of shape"),
        (lambda: plot.attributions(torch.rand(2, 6, 5), {"a": torch.full((2, 6, 5), torch.nan)}), "infinity in a"),
        (lambda: plot.attributions([torch.rand(4, 4), torch.rand(5, 5)], {"a": torch.rand(2, 4, 4)}), "one size"),
        (lambda: plot.attributions(torch.rand(2, 6, 5), torch.rand(2, 6, 5), names=["one"]), "one per image"),
        (lambda: plot.attributions(torch.rand(2, 6, 5), torch.rand(2, 6, 5), truth=torch.ones(6, 5)), "truth of"),
        (lambda: plot.attributions(torch.rand(2, 6, 5), torch.rand(2, 6, 5), scale="row"), "scale="),
        (lambda: plot.attributions(torch.rand(2, 6, 5), torch.rand(2, 6, 5), columns=1), "2 columns"),
        (lambda: plot.attention(torch.rand(2, 3, 3), ["a", "b"]), "each token"),
        (lambda: plot.attention(torch.rand(0, 2, 2), ["a", "b"]), "one head"),
        (lambda: plot.attention(-torch.rand(2, 2, 2), ["a", "b"]), "not negative"),
        (lambda: plot.attention(torch.rand(2, 2, 2), ["a", "b"], titles=["one"]), "one per head"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_a_figure_is_made(wrong, why):
    with pytest.raises(InputError, match=why):
        wrong()
    assert not plt.get_fignums()
