"""Pictures of explanations of images, and of what attention heads look at.

Values come as plain arrays or tensors; red speaks for the explained score, blue against it.
Dimension letters: B examples, C channels, H height, W width of an image; A heads, T tokens.
"""

from collections.abc import Sequence
from math import ceil

import matplotlib.patheffects as effects
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from bigmodel_lab.errors import InputError
from bigmodel_lab.plot.canvas import ATTENTION, POSITIVE, SIGNED, array, named, overlay, pixels, reach
from bigmodel_lab.plot.words import drawable, shown

__all__ = ["attention", "attributions"]

WIDTH = 5.4  # inches: fits a column of 700 pixels, and on a phone the letters stay readable


def attributions(
    images,
    values,
    *,
    names: Sequence[str] | None = None,
    truth=None,
    scale: str = "method",
    percentile: float = 99.5,
    columns: int = 5,
    label: str = "attribution",
) -> np.ndarray:
    """Draw explanations of images: a row per example, the image first, then one heat map per method.

    `values` maps each method's name to its values (B, C, H, W), whose channels are summed, or (B, H, W); one array
    alone is one method. More methods than `columns` - 1 go on below, beside the image again. `names` (B) stand at the
    rows. `truth` (B, H, W) outlines the pixels that matter.
    The one colour bar holds for all maps. By `scale="method"` each method's values are divided by the `percentile` of
    their size, since methods have different units; by "global" all methods are drawn on one scale as they are.
    Returns the axes (rows, columns) of the figure; those that stayed empty are invisible.
    """
    pictures = [pixels(image) for image in images]
    maps = {name: one.sum(1) if one.ndim == 4 else one for name, one in named(values, label).items()}
    _check(pictures, maps, names, truth, scale, columns)
    gap = " " if len(maps) > 2 else "\n"  # a narrow figure has room for half of the label
    limits = {name: reach([one], percentile) for name, one in maps.items()}
    if scale == "global":
        limits = dict.fromkeys(maps, reach(maps.values(), percentile))
        bar = {"label": f"{label};{gap}the scale ends at the {percentile:g}th percentile of all"}
    else:
        bar = {"label": f"{label},{gap}in units of each method's {percentile:g}th percentile"}
    unit = 1.0 if scale == "method" else next(iter(limits.values()))
    signed = any(one.min() < 0 for one in maps.values())
    norm, colours = plt.Normalize(-unit if signed else 0.0, unit), SIGNED if signed else POSITIVE

    blocks = ceil(len(maps) / (columns - 1))
    wide = ceil(len(maps) / blocks)  # methods of one block, so that the last is as full as the others
    count = len(pictures)
    height, width = pictures[0].shape[:2]
    side = min(WIDTH / (wide + 1), 1.5)
    size = (side * (wide + 1), blocks * (count * side * height / width + 0.25) + 0.55)
    figure, axes = plt.subplots(blocks * count, wide + 1, figsize=size, squeeze=False, layout="compressed")
    figure.get_layout_engine().set(w_pad=0.025, h_pad=0.025, wspace=0, hspace=0)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
    for block in range(blocks):
        here = list(maps)[block * wide : (block + 1) * wide]
        for row, picture in enumerate(pictures):
            line = axes[block * count + row]
            line[0].imshow(
                picture, cmap="gray", vmin=0 if picture.min() >= 0 else None, vmax=1 if _unit(picture) else None
            )
            line[0].set_ylabel("" if names is None else names[row], fontsize=9)
            grey = picture if picture.ndim == 2 else picture.mean(2)
            for ax, name in zip(line[1:], here, strict=False):
                overlay(ax, grey, maps[name][row] / (limits[name] / unit), norm, colours)
                if truth is not None:
                    outline(ax, array(truth[row]))
            for ax in line[1 + len(here) :]:
                ax.set_visible(False)
        for ax, title in zip(axes[block * count], ["image", *here], strict=False):
            ax.set_title(_broken(title), fontsize=9, pad=3)
    mappable = plt.cm.ScalarMappable(norm=norm, cmap=colours)  # without the maps' transparency
    low = 0.0 if not signed else -unit
    drawn = figure.colorbar(
        mappable, ax=axes, location="bottom", fraction=0.05, aspect=42, pad=0.015, extend="both" if signed else "max"
    )
    drawn.set_label(**bar, fontsize=9)
    drawn.set_ticks([low, low / 2, 0, unit / 2, unit] if signed else [0, unit / 2, unit])
    drawn.ax.tick_params(labelsize=8.5, length=2)
    drawn.outline.set_visible(False)
    return axes


def outline(ax: Axes, mask: np.ndarray) -> None:
    """Draw the border of a mask (H, W) along the edges of its pixels, black on white so that it shows on any colour."""
    mask = mask.astype(float)
    if mask.min() == mask.max():
        return
    height, width = mask.shape
    sharp = np.pad(np.kron(mask, np.ones((8, 8))), 1)  # so fine that the line follows the edges, and closes at the rim
    x, y = (np.arange(-1, 8 * n + 1) / 8 - 0.4375 for n in (width, height))
    drawn = ax.contour(x, y, sharp, levels=[0.5], colors="black", linewidths=1.1)
    drawn.set_path_effects([effects.withStroke(linewidth=2.6, foreground="white")])
    ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def attention(weights, tokens: Sequence[str], *, titles: Sequence[str] | None = None, columns: int = 4) -> list[Axes]:
    """Draw attention weights (A, T, T) or (T, T): a row per query, a column per key, one scale from 0 for all heads."""
    weights = array(weights)
    heads = weights[None] if weights.ndim == 2 else weights
    if heads.ndim != 3 or heads.shape[1:] != (len(tokens), len(tokens)):
        expected = f"weights (heads, {len(tokens)}, {len(tokens)}), a row and a column for each token"
        raise InputError(expected, got=f"shape {weights.shape}")
    if not len(heads):
        raise InputError("at least one head", got="none")
    if not np.isfinite(heads).all() or heads.min() < 0:
        raise InputError("attention weights that are finite and not negative", got=f"from {heads.min():.3g}")
    if titles is not None and len(titles) != len(heads):
        raise InputError(f"{len(heads)} titles, one per head", got=f"{len(titles)}")
    titles = [f"head {i}" for i in range(len(heads))] if titles is None and len(heads) > 1 else titles
    labels, family = drawable([shown(token) for token in tokens])
    labels = [label if len(label) <= 12 else label[:11] + "…" for label in labels]
    style = {"fontfamily": family, "parse_math": False}
    columns = min(columns, len(heads))
    rows = ceil(len(heads) / columns)
    room = 0.07 * max(map(len, labels)) + 0.1  # for the words at the left and below
    side = min((WIDTH - room) / columns, 2.8)
    size = (columns * side + room + 0.3, rows * (side + 0.2) + room)
    figure, axes = plt.subplots(
        rows, columns, figsize=size, squeeze=False, sharex=True, sharey=True, layout="compressed"
    )
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    letters = float(np.clip(side * 72 / len(tokens) * 0.75, 6.5, 9))
    every = ceil(1.15 * letters * len(tokens) / (side * 72))  # so that words do not run into each other
    marks = range(0, len(tokens), every)
    for i, ax in enumerate(axes.flat):
        if i >= len(heads):
            ax.set_visible(False)
            continue
        drawn = ax.imshow(heads[i], cmap=ATTENTION, vmin=0, vmax=float(heads.max()) or 1.0)
        ax.set_xticks(marks, labels[::every], rotation=90, fontsize=letters, **style)
        ax.set_yticks(marks, labels[::every], fontsize=letters, **style)
        ax.tick_params(length=0, pad=2, labelbottom=i + columns >= len(heads))
        ax.grid(visible=False)
        ax.spines[:].set(visible=True, color="0.7", linewidth=0.6)
        if titles is not None:
            ax.set_title(titles[i], fontsize=9, pad=3)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, aspect=22, pad=0.015)
    bar.set_label("weight", fontsize=9)
    bar.ax.tick_params(labelsize=8, length=2)
    bar.outline.set_visible(False)
    return list(axes.flat[: len(heads)])


def _check(pictures, maps, names, truth, scale: str, columns: int) -> None:
    if not pictures:
        raise InputError("at least one image", got="none")
    shape = (len(pictures), *pictures[0].shape[:2])
    if any(one.shape[:2] != shape[1:] for one in pictures):
        raise InputError("images of one size", got=f"{sorted({one.shape[:2] for one in pictures})}")
    for name, one in maps.items():
        if one.shape != shape:
            expected = f"values of {name or 'the method'} of shape {shape}, or with channels after the first number"
            raise InputError(expected, got=f"shape {one.shape} once channels are summed")
    if names is not None and len(names) != len(pictures):
        raise InputError(f"{len(pictures)} names, one per image", got=f"{len(names)}")
    if truth is not None and np.shape(array(truth)) != shape:
        raise InputError(f"truth of shape {shape}", got=f"shape {np.shape(array(truth))}")
    if scale not in ("method", "global"):
        raise InputError('scale="method" or scale="global"', got=repr(scale))
    if columns < 2:
        raise InputError("at least 2 columns: the image and a method", got=str(columns))


def _unit(picture: np.ndarray) -> bool:
    return bool(picture.min() >= 0 and picture.max() <= 1)


def _broken(title: str) -> str:
    """Break a long name at the blank or underscore nearest to its middle, so that neighbours do not touch."""
    title = title.replace("_", " ")
    if len(title) <= 13 or " " not in title:
        return title
    places = [i for i, letter in enumerate(title) if letter == " "]
    at = min(places, key=lambda i: abs(i - len(title) / 2))
    return f"{title[:at]}\n{title[at + 1 :]}"
