"""What every picture is drawn with: the style, the colours, and how arrays become what matplotlib draws.

Colours: the colour-blind-safe palette of Okabe & Ito (2008); heat maps run from blue over white to red around zero.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from bigmodel_lab.errors import InputError

__all__ = [
    "ATTENTION",
    "PALETTE",
    "POSITIVE",
    "SIGNED",
    "array",
    "legend",
    "named",
    "overlay",
    "panels",
    "pixels",
    "reach",
    "use_style",
]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
# blue - white - red with the ends of matplotlib's RdBu made darker, so that strong values stand out when blended
SIGNED = LinearSegmentedColormap.from_list("signed", ["#053061", "#4393C3", "#FFFFFF", "#D6604D", "#67001F"])
POSITIVE = LinearSegmentedColormap.from_list("positive", ["#FFFFFF", "#D6604D", "#67001F"])
ATTENTION = LinearSegmentedColormap.from_list("attention", ["#FFFFFF", "#56B4E9", "#0072B2", "#053061"])


def use_style() -> None:
    """Give the figures of this session the course's look (matplotlib's rcParams; nothing is drawn)."""
    plt.rcParams.update(
        {
            "axes.prop_cycle": plt.cycler(color=PALETTE),
            "axes.grid": True,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.axisbelow": True,
            "figure.autolayout": False,
            "figure.constrained_layout.use": True,
            "figure.dpi": 130,
            "figure.figsize": (6.4, 3.4),
            "font.size": 10,
            "grid.alpha": 0.25,
            "image.interpolation": "nearest",
            "legend.frameon": False,
            "lines.linewidth": 1.8,
        }
    )


def array(values) -> np.ndarray:
    """Turn a tensor of any device, an array, or a list of either into a NumPy array."""
    if isinstance(values, list | tuple):
        return np.asarray([array(value) if hasattr(value, "detach") else value for value in values])
    if not hasattr(values, "detach"):
        return np.asarray(values)
    values = values.detach().cpu()
    short = values.is_floating_point() and values.element_size() < 4
    return np.asarray(values.float() if short else values)  # NumPy has no bfloat16


def pixels(image) -> np.ndarray:
    """Turn an image (C, H, W) or (H, W) into what imshow draws: (H, W, 3) in [0, 1], or (H, W); bytes become /255."""
    image = array(image)
    if image.dtype == np.uint8:
        image = image / 255
    if image.ndim == 3 and image.shape[0] in (1, 3):
        image = image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0).clip(0, 1)
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise InputError("an image of shape (H, W), (1, H, W) or (3, H, W)", got=f"shape {image.shape}")
    return image


def panels(count: int, columns: int, size: float, *, caption: bool, margin: float = 0.0) -> list[Axes]:
    """Return `count` square axes without ticks, `columns` in a row, each `size` inches wide; `margin` is kept free."""
    columns = min(columns, count)
    rows = ceil(count / columns)
    height = size + (0.19 if caption else 0.04)
    figure, axes = plt.subplots(
        rows, columns, figsize=(columns * size + margin, rows * height), squeeze=False, layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    for ax in axes.flat:
        ax.set_axis_off()
    return list(axes.flat[:count])


def named(values, name: str = "") -> dict[str, np.ndarray]:
    """Turn a mapping name -> values, or values alone, into a mapping name -> finite array; at least one."""
    found = {str(key): array(one) for key, one in (values if isinstance(values, Mapping) else {name: values}).items()}
    if not found:
        raise InputError("at least one method's values", got="none")
    if bad := [key for key, one in found.items() if not np.isfinite(one).all()]:
        raise InputError("values that are finite", got=f"NaN or infinity in {', '.join(bad) or 'them'}")
    return found


def reach(arrays: Iterable[np.ndarray], percentile: float = 99.5) -> float:
    """Return the value that a colour scale reaches: that percentile of all |values|, so that no outlier decides."""
    sizes = np.abs(np.concatenate([np.ravel(one) for one in arrays])).astype(float)
    return float(np.percentile(sizes, percentile)) or float(sizes.max()) or 1.0


def legend(ax: Axes, names: Sequence[str], *, size: float | None = None, room: int = 50) -> None:
    """Put the legend above the axes, where no line can run through it; as many columns as fit `room` letters."""
    columns = max(1, min(len(names), 3, room // (5 + max(map(len, names)))))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.2, fontsize=size)


def overlay(ax: Axes, grey: np.ndarray, values: np.ndarray, scale: plt.Normalize, colours) -> None:
    """Lay values (H, W) over a grey image (H, W): the stronger, the less of the image shows through."""
    ax.imshow(grey, cmap="gray", vmin=-0.4, vmax=1.2)
    strength = np.clip(np.abs(values) / scale.vmax, 0, 1)
    ax.imshow(values, cmap=colours, norm=scale, alpha=0.12 + 0.85 * strength**0.7)
