"""Every test of pictures draws without a screen, in the course's style, and leaves no figure open."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pytest

from bigmodel_lab import plot


@pytest.fixture(autouse=True)
def _clean():
    with mpl.rc_context():
        plot.use_style()
        yield
    plt.close("all")


@pytest.fixture
def drawn():
    """Return a function that draws everything, so that an error or warning of the layout or the renderer shows."""
    return lambda: plt.gcf().canvas.draw()
