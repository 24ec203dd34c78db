"""SHAP's plots show the given numbers, in our colours, and leave the process as it was."""

import random
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from bigmodel_lab import plot
from bigmodel_lab.errors import InputError, MissingExtraError
from bigmodel_lab.plot.shap_plots import BLUE, RED

NAMES = ["mass", "island = Dream", "$x$", "体重"]


def test_a_waterfall_leads_from_the_base_to_the_output(drawn):
    ax = plot.waterfall(torch.tensor([1.5, -0.25, 0.125, 0.001]), NAMES, base=0.5, data=[3.0, 1.0, -2.0, 0.0], digits=3)
    drawn()
    texts = [text.get_text() for text in ax.texts]
    assert {"+1.500", "−0.250", "+0.125", "+0.001", "$E[f(X)]$ = 0.500", "$f(x)$ = 1.876"} <= set(texts)
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert "island = Dream" in labels
    assert any(label.endswith(" = island = Dream") for label in labels)
    assert all(text.get_window_extent().x0 >= 0 for text in ax.get_yticklabels())
    colours = {patch.get_facecolor()[:3] for patch in ax.patches if isinstance(patch, plt.Polygon)}
    assert colours == {to_rgb(RED), to_rgb(BLUE)}


def test_small_features_of_a_waterfall_share_a_bar(drawn):
    ax = plot.waterfall(np.array([3.0, -2.0, 0.4, 0.3, 0.2]), list("abcde"), top=2)
    drawn()
    assert [text.get_text() for text in ax.texts if text.get_text()[0] in "+−"] == ["+3.00", "+0.90", "−2.00"]
    assert "3 other features" in [text.get_text() for text in ax.get_yticklabels()]


def test_a_beeswarm_has_a_point_per_example_and_feature_and_is_the_same_each_time(drawn):
    data = np.random.default_rng(0).normal(size=(30, 4))
    ax = plot.beeswarm(data * [3, 2, 1, 0.5], data, NAMES)
    points = [np.asarray(one.get_offsets()) for one in ax.collections]
    assert sum(map(len, points)) == 120
    assert [text.get_text() for text in ax.get_yticklabels()][-1] == "mass"
    drawn()
    again = plot.beeswarm(data * [3, 2, 1, 0.5], data, NAMES)
    for one, other in zip(points, again.collections, strict=True):
        np.testing.assert_array_equal(one, other.get_offsets())


@pytest.mark.parametrize("channels", [1, 3])
def test_shap_images_have_a_column_per_output(channels, drawn):
    images, values = torch.rand(2, channels, 6, 6), {"cat": torch.randn(2, channels, 6, 6), "dog": torch.randn(2, 6, 6)}
    axes = plot.shap_image(images, values, names=["one", "two"])
    assert len(axes) == 6
    assert [ax.get_title() for ax in axes] == ["one", "cat", "dog", "two", "", ""]
    np.testing.assert_allclose(axes[4].images[-1].get_array(), values["cat"][1].sum(0), rtol=1e-5)
    drawn()
    assert all(ax.title.get_window_extent().y1 <= plt.gcf().bbox.height for ax in axes)


def test_the_process_is_left_as_it_was():
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    plt.ion()
    before = (random.getstate(), str(np.random.get_state()), dict(plt.rcParams))  # noqa: NPY002
    plot.waterfall([1.0, -1.0], ["a", "b"])
    plot.beeswarm(np.eye(3), np.eye(3), list("abc"))
    assert (random.getstate(), str(np.random.get_state()), dict(plt.rcParams)) == before  # noqa: NPY002
    assert plt.isinteractive()
    plt.ioff()


def test_without_shap_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(MissingExtraError, match="pip install"):
        plot.waterfall([1.0], ["a"])


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda: plot.waterfall([1.0], ["a", "b"]), "values of shape"),
        (lambda: plot.waterfall([float("nan")], ["a"]), "finite"),
        (lambda: plot.waterfall([1.0], ["a"], data=[1.0, 2.0]), "data of shape"),
        (lambda: plot.beeswarm(np.eye(3), np.ones((2, 3)), list("abc")), "data of shape"),
        (lambda: plot.beeswarm(np.ones(3), np.ones(3), list("abc")), "values of shape"),
        (lambda: plot.shap_image(torch.rand(2, 3, 4, 4), torch.rand(2, 3, 5, 5)), "for images"),
        (lambda: plot.shap_image(torch.rand(2, 3, 4, 4), torch.rand(2, 4, 4), names=["a"]), "one per image"),
        (lambda: plot.shap_text(["a"], [1.0, 2.0]), "one per word"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong, why):
    with pytest.raises(InputError, match=why):
        wrong()
    assert not plt.get_fignums()
