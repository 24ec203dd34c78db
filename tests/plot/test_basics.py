"""Pictures show the numbers that they were given, and refuse what cannot be drawn."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from bigmodel_lab import plot
from bigmodel_lab.errors import InputError


def test_a_style_is_set_only_when_asked_for():
    mpl.rcdefaults()
    before = mpl.rcParams["figure.dpi"]
    plot.images(torch.rand(2, 4, 4))
    assert mpl.rcParams["figure.dpi"] == before
    plot.use_style()
    assert mpl.rcParams["figure.dpi"] != before


def test_images_are_drawn_as_given_with_their_titles(drawn):
    pictures = torch.rand(3, 3, 5, 4)
    axes = plot.images(pictures, ["a", "b", "c"], columns=2)
    assert [ax.get_title() for ax in axes] == ["a", "b", "c"]
    np.testing.assert_allclose(axes[1].images[0].get_array(), pictures[1].permute(1, 2, 0))
    drawn()


def test_grey_images_share_one_scale():
    axes = plot.images([torch.full((2, 2), 0.2), torch.full((2, 2), 0.9)])
    for ax in axes:
        assert ax.images[0].get_clim() == pytest.approx((0.2, 0.9))


def test_bytes_are_scaled_and_missing_pixels_are_not_counted(drawn):
    colour = torch.tensor([0, 51, 255], dtype=torch.uint8)[:, None, None].expand(3, 2, 2)
    assert plot.images([colour])[0].images[0].get_array()[0, 0].tolist() == pytest.approx([0, 0.2, 1])
    ax = plot.images([torch.tensor([[0.1, torch.nan], [0.3, 0.2]])])[0]
    assert ax.images[0].get_clim() == pytest.approx((0.1, 0.3))
    drawn()


def test_bfloat16_is_drawn(drawn):
    plot.images(torch.rand(2, 4, 4, dtype=torch.bfloat16))
    ax = plot.curves({"loss": torch.ones(3, dtype=torch.bfloat16), "other": [torch.ones((), dtype=torch.bfloat16)] * 3})
    assert list(ax.lines[1].get_ydata()) == [1, 1, 1]
    drawn()


@pytest.mark.parametrize("values", [(-1.0, 0.5), (-1.0, -2.0), (0.0, 0.0), (3.0, 1.0)])
def test_bars_fit_their_axis(values, drawn):
    ax = plot.bars(dict(zip("ab", values, strict=True)))
    left, right = ax.get_xlim()
    assert left <= min(0, *values) <= max(0, *values) <= right
    assert left < right
    drawn()


def test_a_grid_of_images_leaves_no_empty_frame():
    plot.images(torch.rand(3, 4, 4), columns=2)
    assert not any(ax.axison for ax in plt.gcf().axes)


def test_curves_are_the_series_with_a_legend(drawn):
    ax = plot.curves({"one": [3, 2, 1], "two": torch.tensor([1.0, 2, 3])}, ylabel="loss", log=True)
    assert [list(line.get_ydata()) for line in ax.lines] == [[3, 2, 1], [1, 2, 3]]
    assert [list(line.get_xdata()) for line in ax.lines] == [[1, 2, 3]] * 2
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "two"]
    assert ax.get_yscale() == "log"
    drawn()


def test_bars_have_the_lengths_and_say_them(drawn):
    ax = plot.bars({"a": 0.5, "b": 0.75}, controls=["b"], low=0.25, digits=2)
    assert [bar.get_x() + bar.get_width() for bar in ax.patches] == [0.5, 0.75]
    assert [text.get_text() for text in ax.texts] == ["0.50", "0.75"]
    assert ax.patches[0].get_facecolor() != ax.patches[1].get_facecolor()
    drawn()
    with pytest.raises(InputError, match="c"):
        plot.bars({"a": 1}, controls=["c"])


def test_confusion_counts_true_rows_and_predicted_columns(drawn):
    ax = plot.confusion(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 2]), ["x", "y", "z"])
    assert ax.images[0].get_array().tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    drawn()


def test_signed_heat_maps_share_a_symmetric_scale(drawn):
    maps = torch.zeros(2, 3, 4, 4)
    maps[0, :, 0, 0], maps[1, :, 1, 1] = 1.0, -0.5
    axes = plot.heatmaps(torch.rand(2, 3, 4, 4), maps, ["up", "down"], label="share")
    scales = {ax.images[1].get_clim() for ax in axes}
    assert len(scales) == 1
    low, high = scales.pop()
    assert low == -high
    assert axes[0].images[1].get_array()[0, 0] == 3  # the sum over channels
    drawn()


def test_maps_without_negative_values_start_at_zero():
    axes = plot.heatmaps(torch.rand(1, 1, 4, 4), torch.rand(1, 4, 4))
    assert axes[0].images[1].get_clim()[0] == 0


def test_empty_maps_are_drawn_too(drawn):
    plot.heatmaps(torch.rand(1, 1, 4, 4), torch.zeros(1, 4, 4))
    drawn()


def test_regions_are_what_the_model_predicts(drawn):
    points = np.array([[-1.0, 0], [1, 0]], dtype=np.float32)
    ax = plot.regions(lambda p: (p[:, 0] > 0).astype(float), points, [0, 1], steps=30)
    line = next(c for c in ax.collections if len(getattr(c, "levels", [])) == 1)  # the level 0.5
    places = np.concatenate([path.vertices for path in line.get_paths()])
    assert np.abs(places[:, 0]).max() < 0.1
    drawn()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: plot.images([]),
        lambda: plot.images(torch.rand(2, 4, 4), ["one"]),
        lambda: plot.images(torch.rand(2, 5, 4, 4)),
        lambda: plot.confusion([0, 1], [0], ["a", "b"]),
        lambda: plot.heatmaps(torch.rand(2, 1, 4, 4), torch.rand(2, 3, 3)),
        lambda: plot.heatmaps(torch.rand(2, 1, 4, 4), torch.rand(1, 4, 4)),
        lambda: plot.heatmaps([], []),
        lambda: plot.heatmaps(torch.rand(2, 1, 4, 4), torch.rand(2, 4, 4), ["one"]),
        lambda: plot.heatmaps(torch.rand(1, 1, 4, 4), torch.full((1, 4, 4), torch.nan)),
        lambda: plot.confusion([0, -1], [0, 1], ["a", "b"]),
        lambda: plot.confusion([0, 1], [0, 2], ["a", "b"]),
        lambda: plot.confusion([0, 1], [0.0, 1.0], ["a", "b"]),
        lambda: plot.regions(lambda p: p[:, 0], torch.rand(4, 3), [0, 1, 0, 1]),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong):
    with pytest.raises(InputError, match="expected"):
        wrong()
