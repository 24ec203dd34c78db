"""Pictures of what lessons measure: images, histories, confusions, filters, heat maps, decision regions.

Every function takes plain arrays or tensors, draws on new axes or the given ones, and returns the axes.
"""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from bigmodel_lab.errors import InputError
from bigmodel_lab.plot.canvas import PALETTE, POSITIVE, SIGNED, array, legend, overlay, panels, pixels, reach

__all__ = ["bars", "confusion", "curves", "heatmaps", "images", "regions"]


def images(pictures, titles: Sequence[str] | None = None, *, columns: int = 10, size: float = 0.85, cmap: str = "gray"):
    """Draw a grid of images (N, C, H, W) or (N, H, W), each with a title; grey ones share one scale."""
    pictures = [pixels(picture) for picture in pictures]
    if not pictures:
        raise InputError("at least one image", got="none")
    if titles is not None and len(titles) != len(pictures):
        raise InputError(f"{len(pictures)} titles, one per image", got=f"{len(titles)}")
    axes = panels(len(pictures), columns, size, caption=titles is not None)
    known = np.concatenate([p[np.isfinite(p)].astype(float) for p in pictures])
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    for i, (ax, picture) in enumerate(zip(axes, pictures, strict=True)):
        ax.imshow(picture, cmap=cmap, vmin=low, vmax=high)
        if titles is not None:
            ax.set_title(titles[i], fontsize=7.5, pad=2)
    return axes


def curves(
    series: Mapping[str, Sequence[float]],
    *,
    x=None,
    xlabel: str = "epoch",
    ylabel: str = "",
    log: bool = False,
    ax=None,
) -> Axes:
    """Draw one line per named series over `x` (default 1, 2, 3 ...); the legend names the lines."""
    ax = plt.subplots()[1] if ax is None else ax
    for name, values in series.items():
        values = array(values)
        where = np.arange(1, len(values) + 1) if x is None else array(x)
        ax.plot(where, values, label=name, marker="o" if len(values) <= 12 else "", markersize=3.5)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if log:
        ax.set_yscale("log")
    if len(series) > 1:
        legend(ax, list(series))
    return ax


def bars(
    values: Mapping[str, float],
    *,
    xlabel: str = "",
    controls: Sequence[str] = (),
    low: float = 0.0,
    digits: int = 3,
    ax=None,
) -> Axes:
    """Draw one horizontal bar per named value from `low`, the number at its end; `controls` are grey."""
    names, lengths = list(values), [float(v) for v in values.values()]
    if unknown := set(controls) - set(names):
        raise InputError(f"controls among {names}", got=repr(sorted(unknown)))
    ax = plt.subplots(figsize=(6.4, 0.6 + 0.32 * len(names)))[1] if ax is None else ax
    colours = [PALETTE[7] if name in controls else PALETTE[0] for name in names]
    drawn = ax.barh(names, [length - low for length in lengths], left=low, color=colours, height=0.62)
    ax.bar_label(drawn, [f"{length:.{digits}f}" for length in lengths], padding=4)
    ax.invert_yaxis()
    left, right = min(low, *lengths), max(low, *lengths)
    room = 0.12 * (right - left or 1.0)  # for the numbers
    ax.set(xlabel=xlabel, xlim=(left - room * (left < low), right + room * (right > low or left == right)))
    ax.grid(visible=False, axis="y")
    return ax


def confusion(targets, predictions, classes: Sequence[str], *, ax=None) -> Axes:
    """Draw how often each true class (row) was taken for each class (column); both arrays have shape (N,)."""
    targets, predictions = array(targets), array(predictions)
    if targets.shape != predictions.shape or targets.ndim != 1:
        raise InputError("targets and predictions of one shape (N,)", got=f"{targets.shape} and {predictions.shape}")
    for name, labels in (("targets", targets), ("predictions", predictions)):
        if labels.size and (labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= len(classes)):
            got = f"{labels.dtype} from {labels.min()} to {labels.max()}"
            raise InputError(f"{name} as integers in [0, {len(classes)}), one per class", got=got)
    targets, predictions = targets.astype(np.int64), predictions.astype(np.int64)
    table = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(table, (targets, predictions), 1)
    side = 1.5 + 0.3 * len(classes)
    ax = plt.subplots(figsize=(side, side))[1] if ax is None else ax
    ax.imshow(table, cmap="Blues", norm="symlog" if table.max() > 10 else None)
    for row, column in zip(*np.nonzero(table), strict=True):
        dark = table[row, column] > table.max() / 3
        ax.text(
            column, row, table[row, column], ha="center", va="center", fontsize=8, color="white" if dark else "black"
        )
    ticks = range(len(classes))
    turn = 0 if max(map(len, classes)) <= 2 else 45
    ax.set_xticks(ticks, classes, rotation=turn, ha="right" if turn else "center")
    ax.set_yticks(ticks, classes)
    ax.set(xlabel="predicted", ylabel="true")
    ax.grid(visible=False)
    return ax


def heatmaps(
    pictures,
    attributions,
    titles: Sequence[str] | None = None,
    *,
    columns: int = 6,
    size: float = 1.15,
    label: str = "",
) -> list[Axes]:
    """Draw attributions (N, H, W) or (N, C, H, W) over their images in grey, with one signed scale and colour bar.

    Channels are summed. The scale reaches the 99.5th percentile of |values|; it is symmetric around zero, or starts
    there if no value is negative; where a value is near zero the image shows through.
    """
    maps = [array(a) for a in attributions]
    maps = [m.sum(0) if m.ndim == 3 else m for m in maps]
    grey = [p if p.ndim == 2 else p.mean(2) for p in map(pixels, pictures)]
    if [m.shape for m in maps] != [g.shape for g in grey]:
        raise InputError(
            "one attribution of its image's height and width per image", got=f"{len(maps)} for {len(grey)}"
        )
    if not maps:
        raise InputError("at least one attribution", got="none")
    if titles is not None and len(titles) != len(maps):
        raise InputError(f"{len(maps)} titles, one per image", got=f"{len(titles)}")
    if bad := [i for i, m in enumerate(maps) if not np.isfinite(m).all()]:
        raise InputError("attributions that are finite", got=f"NaN or infinity in those of index {bad}")
    limit = reach(maps)
    signed = min(m.min() for m in maps) < 0
    scale = plt.Normalize(-limit if signed else 0.0, limit)
    colours = SIGNED if signed else POSITIVE
    axes = panels(len(maps), columns, size, caption=titles is not None, margin=0.95)
    for i, (ax, under, over) in enumerate(zip(axes, grey, maps, strict=True)):
        overlay(ax, under, over, scale, colours)
        if titles is not None:
            ax.set_title(titles[i], fontsize=7.5, pad=2)
    bar = plt.cm.ScalarMappable(norm=scale, cmap=colours)  # without the images' transparency
    axes[0].figure.colorbar(bar, ax=axes[0].figure.axes, shrink=0.8, aspect=18, pad=0.015, label=label)
    return axes


def regions(predict: Callable[[np.ndarray], np.ndarray], points, labels, *, steps: int = 200, ax=None) -> Axes:
    """Draw which class `predict` gives each place of the plane, with the labelled points (N, 2) over it.

    `predict` maps float32 points (M, 2) to scores in [0, 1] of class 1, shape (M,).
    """
    points, labels = array(points), array(labels)
    if points.ndim != 2 or points.shape[1] != 2:
        raise InputError("points of shape (N, 2)", got=f"shape {points.shape}")
    ax = plt.subplots(figsize=(3.4, 3.2))[1] if ax is None else ax
    low, high = points.min(0) - 0.3, points.max(0) + 0.3
    x, y = np.meshgrid(np.linspace(low[0], high[0], steps), np.linspace(low[1], high[1], steps))
    score = array(predict(np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32))).reshape(x.shape)
    ax.contourf(x, y, score, levels=np.linspace(0, 1, 11), cmap=SIGNED, alpha=0.55)
    ax.contour(x, y, score, levels=[0.5], colors="black", linewidths=1.2)
    ax.scatter(
        *points.T, c=labels, cmap=ListedColormap([PALETTE[0], PALETTE[1]]), s=9, edgecolors="white", linewidths=0.4
    )
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)
    return ax
