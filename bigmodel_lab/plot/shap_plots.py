"""SHAP's own plots (Lundberg & Lee 2017; the package shap), quiet, static, in the course's colours, from plain arrays.

What they mend: SHAP's colours (magenta on blue) become ours, its numbers fit our figures, and what it switches in
matplotlib and in the random generators is put back.
Dimension letters: B examples, F features, C channels, H height, W width.
"""

import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyArrow

from bigmodel_lab.errors import InputError, MissingExtraError
from bigmodel_lab.plot.canvas import SIGNED, array, named, reach
from bigmodel_lab.plot.words import drawable

__all__ = ["beeswarm", "quiet_shap", "shap_image", "waterfall"]

RED, BLUE = "#B2182B", "#2166AC"
WIDTH = 5.4  # inches


def waterfall(values, names: Sequence[str], *, base: float = 0.0, data=None, top: int = 9, digits: int = 2) -> Axes:
    """Draw how the values (F,) of one example lead from `base`, the mean output, up to its own: SHAP's waterfall.

    The `top` features by size have a bar each, the rest share one. `data` (F,) are the features' own values.
    """
    values = _vector(values, names, "values", 1)
    data = None if data is None else _vector(data, names, "data", 1)
    with quiet_shap() as shap:
        names, family = drawable([str(name) for name in names])
        figure = plt.figure()
        told = shap.Explanation(values, base_values=np.float64(base), data=data, feature_names=np.array(names))
        shap.plots.waterfall(told, max_display=top + 1, show=False)
    ax, *others = figure.axes
    rows = min(top + 1, len(values))
    figure.set_size_inches(WIDTH, 0.34 * rows + 0.85)
    _ours(figure, 9, family)
    labels = ax.get_yticklabels()  # SHAP writes them twice: all in grey, and over it the name in black
    texts = [label.get_text() for label in labels[: len(labels) // 2]]
    bare = texts if data is None else [text.split(" = ", 1)[-1] for text in texts]
    ax.set_yticklabels([*texts, *bare], parse_math=False)
    for one in figure.axes:
        one.grid(visible=False)
    for one in others:  # two more axes that hold nothing but these labels
        one.set_axis_off()
    mark = {"textcoords": "offset points", "xycoords": ax.get_xaxis_transform(), "ha": "center", "fontsize": 9}
    for where, edge, way, text in ((base, 0, -27, "E[f(X)]"), (base + values.sum(), 1, 4, "f(x)")):
        ax.annotate(f"${text}$ = {where:.{digits}f}".replace("-", "−"), (where, edge), (0, way), **mark)
    height = figure.get_figheight()
    wide = max(label.get_window_extent().width for label in labels) / figure.dpi
    figure.subplots_adjust(left=(wide + 0.15) / WIDTH, right=0.97, top=1 - 0.25 / height, bottom=0.5 / height)
    kept = values[np.argsort(-np.abs(values))]
    rest = [kept[top:].sum()] if len(values) > top + 1 else []
    _numbers(ax, [*(kept[:top] if rest else kept), *rest], digits)
    return ax


def beeswarm(values, data, names: Sequence[str], *, top: int = 10, xlabel: str = "SHAP value") -> Axes:
    """Draw the values (B, F) of many examples, a row per feature and a point per example: SHAP's beeswarm.

    `data` (B, F) are the features themselves: their size is the points' colour, from blue (low) to red (high).
    """
    values, data = _vector(values, names, "values", 2), _vector(data, names, "data", 2)
    if values.shape != data.shape:
        raise InputError(f"data of shape {values.shape}, as the values", got=f"shape {data.shape}")
    with quiet_shap() as shap:
        names, family = drawable([str(name) for name in names])
        figure, ax = plt.subplots(layout="constrained")
        told = shap.Explanation(values, data=data, feature_names=names)
        shap.plots.beeswarm(told, max_display=top, ax=ax, plot_size=None, show=False, s=11, color=_points())
        figure.set_size_inches(WIDTH, 0.3 * min(top, len(names)) + 0.9)
        _ours(figure, 9, family)
    ax.set_xlabel(xlabel, fontsize=9.5)
    ax.lines[0].set_linewidth(0.8)
    figure.axes[-1].set_ylabel("the feature itself", fontsize=9, labelpad=-12)
    return ax


def shap_image(images, values, *, names: Sequence[str] | None = None, label: str = "SHAP value") -> list[Axes]:
    """Draw images (B, C, H, W) and, by output, the values of their pixels (B, C, H, W) or (B, H, W): SHAP's image plot.

    `values` maps each output's name, as a class, to its values, or is one array. `names` (B) stand above the images.
    """
    pixels = np.moveaxis(array(images).astype(float), 1, -1) if array(images).ndim == 4 else array(images)[..., None]
    maps = named(values, label)
    for name, one in maps.items():
        shape = (one.shape[0], *one.shape[-2:])
        if one.ndim not in (3, 4) or shape != pixels.shape[:3]:
            raise InputError(
                f"values of {name} for images {pixels.shape[:3]}, with or without channels", got=f"shape {one.shape}"
            )
    if names is not None and len(names) != len(pixels):
        raise InputError(f"{len(pixels)} names, one per image", got=f"{len(names)}")
    maps = {name: (one.sum(1) if one.ndim == 4 else one)[..., None] for name, one in maps.items()}
    with quiet_shap() as shap:
        shap.plots.image(
            list(maps.values()),
            np.repeat(pixels, 3, -1) if pixels.shape[-1] == 1 else pixels,
            labels=[list(maps)],
            true_labels=None if names is None else [str(name) for name in names],
            cmap=_transparent(),
            vmax=reach(maps.values(), 99.9),
            show=False,
        )
        figure = plt.gcf()
    rows, wide = len(pixels), len(maps) + 1
    side = min(WIDTH / wide, 1.6)
    tall = side * pixels.shape[1] / pixels.shape[2]
    heads = [0.24] + [0.24 if names is not None else 0.04] * (rows - 1)  # inches above each row
    size = (side * wide, sum(heads) + rows * tall + 0.65)
    figure.set_size_inches(*size)
    *axes, bar = figure.axes
    for i, ax in enumerate(axes):  # SHAP's own places leave gaps that depend on the figure
        row, column = divmod(i, wide)
        bottom = size[1] - sum(heads[: row + 1]) - (row + 1) * tall
        ax.set_position((column * side / size[0], bottom / size[1], (side - 0.05) / size[0], (tall - 0.03) / size[1]))
        ax.title.set(fontsize=9, position=(0.5, 1.0))
        ax.images[0].set_extent(ax.images[-1].get_extent())
    bar.set_aspect("auto")
    bar.set_position((0.06, 0.46 / size[1], 0.88, 0.09 / size[1]))
    for text in bar.findobj(plt.Text):
        text.set_fontsize(9)
    return axes


@contextmanager
def quiet_shap() -> Iterator:
    """Give the package shap, without its warnings; put generators and matplotlib's interactive mode back."""
    plt.draw_if_interactive()  # chooses the backend; a notebook's turns the interactive mode on only then
    states, interactive = (random.getstate(), np.random.get_state()), plt.isinteractive()  # noqa: NPY002
    before = set(plt.get_fignums())
    with warnings.catch_warnings(), plt.rc_context({"figure.constrained_layout.use": False}):
        warnings.simplefilter("ignore")  # of matplotlib's coming changes, and of fonts
        try:
            import shap
        except ImportError as error:
            raise MissingExtraError(
                "the package shap, which draws this picture",
                got=f"{type(error).__name__}: {error}",
                hint="pip install shap, or plot.attributions and plot.tokens, which need no package",
            ) from error
        try:
            np.random.seed(0)  # noqa: NPY002  SHAP spreads its points with this generator
            yield shap
        except BaseException:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)
            raise
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
            plt.interactive(interactive)


def _ours(figure, size: float, family: list[str]) -> None:
    """Give what SHAP drew our letters, and red and blue that go with our heat maps."""
    swap = {to_rgb("#ff0051"): RED, to_rgb("#008bfb"): BLUE}

    def mended(colour):
        near = [ours for theirs, ours in swap.items() if np.allclose(to_rgb(colour), theirs, atol=0.02)]
        return near[0] if near else None

    for patch in figure.findobj(plt.Polygon):
        if ours := mended(patch.get_facecolor()):
            patch.set(facecolor=ours, edgecolor=ours)
    for text in figure.findobj(plt.Text):
        text.set(fontsize=size, fontfamily=family)
        if ours := mended(text.get_color()):
            text.set_color(ours)


def _numbers(ax: Axes, values: list[float], digits: int) -> None:
    """Write the number of each arrow again: on it in white where it fits, else beside its tip."""
    values = [value for value in values if value >= 0] + [value for value in values if value < 0]  # as SHAP draws
    renderer = ax.figure.canvas.get_renderer()
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrow)]
    texts = [text for text in ax.texts if text.get_text()[0] in "+-−"]
    for arrow, text, value in zip(arrows, texts, values, strict=True):
        text.set_text(f"{value:+.{digits}f}".replace("-", "−"))
        x = arrow.get_xy()[:, 0]
        pixels = np.ptp(ax.transData.transform(np.stack([x, x], 1))[:, 0])
        fits = text.get_window_extent(renderer).width + 8 < pixels
        tip = x.max() if value > 0 else x.min()
        room = (0.015 if value > 0 else -0.015) * np.ptp(ax.get_xlim())
        text.set(x=(x.min() + x.max()) / 2 if fits else tip + room, color="white" if fits else arrow.get_facecolor())
        text.set_ha("center" if fits else "left" if value > 0 else "right")


def _points():
    """Colours of points: our blue and red, through a violet grey rather than white, which would not show."""
    return plt.matplotlib.colors.LinearSegmentedColormap.from_list("points", [BLUE, "#9E8FB2", RED])


def _transparent():
    """Our signed colours that fade out near zero, as SHAP lays them over the image."""
    ramp = SIGNED(np.linspace(0, 1, 255))
    ramp[:, 3] = np.abs(np.linspace(-1, 1, 255)) ** 0.6
    return plt.matplotlib.colors.ListedColormap(ramp)


def _vector(values, names: Sequence[str], what: str, ndim: int) -> np.ndarray:
    values = array(values)
    if values.ndim != ndim or values.shape[-1] != len(names) or not values.size:
        shape = f"({'B, ' * (ndim - 1)}{len(names)}{',' * (ndim == 1)})"
        raise InputError(f"{what} of shape {shape}, one per name", got=f"shape {values.shape}")
    if what == "values" and not np.isfinite(values).all():
        raise InputError("values that are finite", got="NaN or infinity")
    return values
