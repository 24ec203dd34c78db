"""Pictures that compare methods: a board of scores, and how the error of estimates falls with what is spent.

Dimension letters: M methods, K metrics, S seeds, P points.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from bigmodel_lab.errors import InputError
from bigmodel_lab.plot.canvas import PALETTE, array, legend
from bigmodel_lab.plot.words import ink

__all__ = ["convergence", "scoreboard"]

GOOD = LinearSegmentedColormap.from_list("good", ["#F7FBFF", "#C6DBEF", "#6BAED6", "#2171B5", "#08306B"])
WIDTH = 6.4  # inches


def scoreboard(
    scores,
    methods: Sequence[str],
    metrics: Sequence[str],
    *,
    higher_is_better: bool | Sequence[bool] = True,
    controls: Sequence[str] = (),
    groups: Sequence[str] | None = None,
    by: str = "rank",
) -> Axes:
    """Draw scores (M, K) as a table, methods down and metrics across: in each column the best is darkest.

    The arrow at a metric's name says where better is: `higher_is_better`, one for all or one per metric. Colours
    follow the `by="rank"` in the column or the "value" between the column's worst and best. `controls`, methods that
    know nothing, are drawn grey and slanted below a line. `groups` names the group of each method, as
    ("gradients", "gradients", "replacing", ...); a line parts them, and rows of one group must stand together.
    A score that is NaN stays empty.
    """
    scores = array(scores).astype(float)
    up = np.broadcast_to(higher_is_better, len(metrics)) if np.ndim(higher_is_better) == 0 else higher_is_better
    _check_board(scores, methods, metrics, up, controls, groups, by)
    better = np.where(up, scores, -scores)
    shade = np.stack([_goodness(column, by) for column in better.T], axis=1)
    rows, columns = scores.shape
    kinds = list(groups) if groups is not None else [""] * rows
    kinds = [f"{kind}, controls" if name in controls else kind for name, kind in zip(methods, kinds, strict=True)]
    breaks = [row for row in range(1, rows) if kinds[row] != kinds[row - 1]]
    side = 0.07 * max(map(len, [*methods, *(groups or ())])) * (1 if groups is None else 1.7)
    width = min(WIDTH, 0.7 + side + 0.66 * columns)
    head = 0.25 + 0.055 * max(map(len, metrics))  # inches: the slanted names above
    ax = plt.subplots(
        figsize=(width, 0.2 + head + 0.245 * rows),
        layout="constrained",
    )[1]
    ax.imshow(shade, cmap=GOOD, vmin=0, vmax=1, aspect="auto")
    small = 8.5 if columns <= 8 else 7.5
    for k, column in enumerate(scores.T):
        form = _format(column)
        for m, score in enumerate(column):
            known = np.isfinite(score)
            colour = ink(GOOD(shade[m, k])) if known else "0.5"
            best = known and shade[m, k] == np.nanmax(shade[:, k])
            text = form(score) if known else "–"
            ax.text(k, m, text, ha="center", va="center", fontsize=small, color=colour, weight="bold" if best else None)
    heads = [f"{name.replace('_', ' ')} {'↑' if high else '↓'}" for name, high in zip(metrics, up, strict=True)]
    ax.xaxis.tick_top()
    ax.set_xticks(range(columns), heads, rotation=38, ha="left", rotation_mode="anchor", fontsize=9, parse_math=False)
    names = [name.replace("_", " ") for name in methods]
    ax.set_yticks(range(rows), names, fontsize=9, parse_math=False)
    for label, name in zip(ax.get_yticklabels(), methods, strict=True):
        if name in controls:
            label.set(style="italic", color="0.4")
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    for edge in np.arange(columns - 1) + 0.5:
        ax.axvline(edge, color="white", linewidth=2.5)
    for row in range(1, rows):
        strong = row in breaks
        ax.axhline(row - 0.5, color="black" if strong else "white", linewidth=1.2 if strong else 0.8)
    if groups is not None:
        for start, stop in zip([0, *breaks], [*breaks, rows], strict=True):
            ax.text(columns - 0.4, (start + stop - 1) / 2, groups[start], va="center", fontsize=8.5, color="0.3")
    return ax


def convergence(
    forwards,
    errors: Mapping[str, Sequence],
    *,
    rate: float | None = None,
    xlabel: str = "rows sent through the model",
    ylabel: str = "error",
    ax=None,
) -> Axes:
    """Draw how errors fall: both axes logarithmic, a line through the median over seeds, a band from least to largest.

    `forwards` (P,) is what was spent at each point, one for all methods or one per method by name; `errors` maps each
    method's name to (S, P) or (P,). `rate` draws a grey line of that slope: -0.5 is what chance errors do. Where a
    method's errors are zero its line ends, and the legend says from where on it is exact.
    """
    if not errors:
        raise InputError("the errors of at least one method", got="none")
    points = {name: _points(name, forwards, given) for name, given in errors.items()}
    ax = plt.subplots(figsize=(5.4, 3.4))[1] if ax is None else ax
    names, first = [], None
    for i, (name, (spent, table)) in enumerate(points.items()):
        exact = np.flatnonzero(table.max(0) == 0)
        shown = name.replace("_", " ")
        names.append(f"{shown} (exact at {spent[exact[0]]:,.0f})" if len(exact) else shown)
        table = np.where(table > 0, table, np.nan)
        keep = np.isfinite(table).any(0)
        spent, table = spent[keep], table[:, keep]
        middle = np.nanmedian(table, axis=0) if keep.any() else table[0]
        colour = PALETTE[i % len(PALETTE)]
        marker = "osD^vPX*"[i % 8]  # for those who do not see the colours
        ax.plot(spent, middle, color=colour, marker=marker, markersize=4, label=names[-1])
        if len(table) > 1 and keep.any():
            low, high = np.nanmin(table, axis=0), np.nanmax(table, axis=0)
            ax.fill_between(spent, low, high, color=colour, alpha=0.18, linewidth=0)
        if len(spent) and (first is None or middle[0] > first[2]):
            first = (spent[0], spent[-1], middle[0])
    ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel)
    if rate is not None and first is not None:
        ends = np.array(first[:2])
        names.append(f"slope {rate:g}".replace("-", "−"))
        line = first[2] * 1.6 * (ends / ends[0]) ** rate
        ax.plot(ends, line, color="0.45", linewidth=1.1, linestyle=(0, (4, 3)), label=names[-1], zorder=1)
    if len(names) > 1:
        legend(ax, names, size=9, room=66)
    return ax


def _goodness(column: np.ndarray, by: str) -> np.ndarray:
    """Return for scores (M,), the higher the better, numbers from 0 (worst) to 1 (best); NaN stays."""
    known = np.isfinite(column)
    found = np.full(len(column), np.nan)
    scores = column[known]
    if by == "rank" and len(scores):
        below = (scores[:, None] > scores).sum(1) + ((scores[:, None] == scores).sum(1) - 1) / 2
        found[known] = below / max(len(scores) - 1, 1)
    elif len(scores):
        found[known] = (scores - scores.min()) / ((scores.max() - scores.min()) or 1.0)
    return found


def _format(column: np.ndarray):
    """Return how the numbers of one column are written: all with the same digits, about three that count."""
    largest = np.nanmax(np.abs(column)) if np.isfinite(column).any() else 0.0
    if 100 <= largest < 1e5:
        return "{:.3g}".format
    if largest >= 1e5 or 0 < largest < 5e-4:
        return "{:.1e}".format
    return f"{{:.{int(np.clip(2 - np.floor(np.log10(largest or 1.0)), 0, 3 if largest >= 0.1 else 5))}f}}".format


def _check_board(scores, methods, metrics, up, controls, groups, by: str) -> None:
    if scores.shape != (len(methods), len(metrics)) or not scores.size:
        expected = f"scores of shape ({len(methods)}, {len(metrics)}), methods by metrics, at least one of each"
        raise InputError(expected, got=f"shape {scores.shape}")
    if len(up) != len(metrics):
        raise InputError(f"higher_is_better once or {len(metrics)} times, one per metric", got=f"{len(up)}")
    if unknown := set(controls) - set(methods):
        raise InputError(f"controls among {list(methods)}", got=repr(sorted(unknown)))
    if groups is not None:
        if len(groups) != len(methods):
            raise InputError(f"{len(methods)} groups, one per method", got=f"{len(groups)}")
        changes = sum(a != b for a, b in pairwise(groups))
        if changes != len(set(groups)) - 1:
            raise InputError("methods of one group in neighbouring rows", got=repr(list(groups)))
    if by not in ("rank", "value"):
        raise InputError('by="rank" or by="value"', got=repr(by))


def _points(name: str, forwards, errors) -> tuple[np.ndarray, np.ndarray]:
    """Return what one method spent (P,), sorted, and its errors (S, P) in that order."""
    if isinstance(forwards, Mapping) and name not in forwards:
        raise InputError(f"forwards of {name}", got=f"those of {', '.join(forwards)}")
    spent = array(forwards[name] if isinstance(forwards, Mapping) else forwards).astype(float)
    table = np.atleast_2d(array(errors).astype(float))
    if spent.ndim != 1 or table.ndim != 2 or table.shape[1] != len(spent) or not table.size:
        raise InputError(
            f"errors of {name} of shape (seeds, {spent.size}), one per number of forwards", got=f"shape {table.shape}"
        )
    if not np.isfinite(table).all() or table.min() < 0:
        raise InputError(f"errors of {name} that are finite and not negative", got=f"from {table.min():.3g}")
    if spent.min() <= 0:
        raise InputError("numbers of forwards above 0, for a logarithmic axis", got=f"{spent.min():g}")
    order = np.argsort(spent)
    return spent[order], table[:, order]
