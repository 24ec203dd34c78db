"""A board shows each score once, the best of a column darkest; errors fall as they were measured."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from bigmodel_lab import plot
from bigmodel_lab.errors import InputError

SCORES = [[0.1, 200.0], [0.9, 3.0], [0.5, float("nan")]]


def board(**options):
    return plot.scoreboard(SCORES, ["a_b", "c", "random"], ["mass", "infidelity"], **options)


def test_scores_and_directions_are_written(drawn):
    ax = board(higher_is_better=[True, False])
    assert [text.get_text() for text in ax.texts] == ["0.100", "0.900", "0.500", "200", "3", "–"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["mass ↑", "infidelity ↓"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a b", "c", "random"]
    drawn()


def test_the_best_of_each_column_is_darkest_whichever_way_it_counts():
    shade = board(higher_is_better=[True, False]).images[0].get_array().filled(np.nan)
    np.testing.assert_allclose(shade, [[0, 0], [1, 1], [0.5, np.nan]])
    shade = board(higher_is_better=True).images[0].get_array().filled(np.nan)
    np.testing.assert_allclose(shade, [[0, 1], [1, 0], [0.5, np.nan]])


def test_shades_follow_values_where_asked_and_equal_scores_share_a_rank():
    ax = plot.scoreboard([[0.0], [0.1], [1.0]], "abc", ["m"], by="value")
    np.testing.assert_allclose(ax.images[0].get_array()[:, 0], [0, 0.1, 1])
    ax = plot.scoreboard([[0.0], [1.0], [1.0]], "abc", ["m"])
    np.testing.assert_allclose(ax.images[0].get_array()[:, 0], [0, 0.75, 0.75])
    assert [text.get_weight() for text in ax.texts] == ["normal", "bold", "bold"]


def test_controls_are_parted_by_a_line_and_slanted():
    ax = board(controls=["random"])
    assert [text.get_style() for text in ax.get_yticklabels()] == ["normal", "normal", "italic"]
    (line,) = [line for line in ax.lines if line.get_color() == "black"]
    assert set(line.get_ydata()) == {1.5}


def test_groups_are_parted_and_named(drawn):
    ax = board(groups=["gradients", "gradients", "none"], controls=["random"])
    assert [text.get_text() for text in ax.texts[-2:]] == ["gradients", "none"]
    drawn()


@pytest.mark.parametrize("scores", [[[1.0]], [[float("nan")]], [[1e7]], [[1e-6]], [[0.0]], [[-0.02]]])
def test_every_size_of_number_can_be_written(scores, drawn):
    assert plot.scoreboard(scores, ["a"], ["m"]).texts[0].get_text()
    drawn()


def test_a_large_board_fits_a_column_of_text(drawn):
    names = [f"a_method_with_a_name_{i}" for i in range(20)]
    plot.scoreboard(torch.rand(20, 10), names, [f"metric {i}" for i in range(10)], groups=["x"] * 10 + ["y"] * 10)
    drawn()
    assert plt.gcf().get_figwidth() <= 6.4


def test_errors_are_drawn_with_their_median_and_range(drawn):
    errors = np.array([[4.0, 2.0, 1.0], [8.0, 4.0, 2.0], [2.0, 1.0, 0.5]])
    ax = plot.convergence([10, 100, 1000], {"a_b": errors}, rate=-0.5)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [4, 2, 1])
    band = ax.collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == (0.5, 8)
    x, y = ax.lines[1].get_data()
    assert np.log10(y[1] / y[0]) / np.log10(x[1] / x[0]) == pytest.approx(-0.5)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a b", "slope −0.5"]
    drawn()


def test_points_are_sorted_and_methods_may_have_their_own():
    spent = {"a": [100, 10], "b": [5, 50, 500]}
    ax = plot.convergence(spent, {"a": [1.0, 3.0], "b": torch.tensor([[3.0, 2.0, 1.0]])})
    np.testing.assert_allclose(ax.lines[0].get_data(), [[10, 100], [3, 1]])
    np.testing.assert_allclose(ax.lines[1].get_xdata(), [5, 50, 500])


def test_an_exact_method_is_said_to_be_exact(drawn):
    ax = plot.convergence([10, 100, 1000], {"a": [[1.0, 0.0, 0.0]] * 2, "exact": [0.0, 0.0, 0.0]})
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["a (exact at 100)", "exact (exact at 10)"]
    drawn()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda: plot.scoreboard([[1.0, 2.0]], ["a"], ["m"]), "methods by metrics"),
        (lambda: plot.scoreboard(np.zeros((0, 0)), [], []), "at least one"),
        (lambda: board(higher_is_better=[True]), "one per metric"),
        (lambda: board(controls=["edges"]), "controls among"),
        (lambda: board(groups=["x"]), "one per method"),
        (lambda: board(groups=["x", "y", "x"]), "neighbouring"),
        (lambda: board(by="size"), "by="),
        (lambda: plot.convergence([1, 2], {}), "at least one method"),
        (lambda: plot.convergence([1, 2], {"a": [1.0]}), "errors of a of shape"),
        (lambda: plot.convergence([1, 2], {"a": [1.0, -1.0]}), "not negative"),
        (lambda: plot.convergence([0, 2], {"a": [1.0, 1.0]}), "above 0"),
        (lambda: plot.convergence({"b": [1, 2]}, {"a": [1.0, 1.0]}), "forwards of a"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong, why):
    with pytest.raises(InputError, match=why):
        wrong()
    assert not plt.get_fignums()
