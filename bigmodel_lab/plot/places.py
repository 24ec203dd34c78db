"""Where to write the names of points so that no name covers another or a point.

Greedy, crowded points first: Christensen, Marks & Shieber 1995 (10.1145/212332.212334) compare this with searching.
"""

from collections.abc import Iterator

import numpy as np

from bigmodel_lab.errors import InputError

__all__ = ["places"]


def places(
    points, sizes, bounds: tuple[float, float], *, gap: float = 7, rings: int = 3
) -> list[tuple[float, float] | None]:
    """Return where the lower left corner of each label goes: labels of `sizes` (N, 2) for `points` (N, 2).

    No label is nearer to another point than to its own, overlaps a label or follows one in its row by less than
    `gap` / 2, or leaves the area from (0, 0) to `bounds`. Each takes the first free of eight places at a `gap` from its
    point, then at two, up to `rings`; crowded points choose first. None where no place is free.
    """
    points, sizes = np.asarray(points, dtype=float).reshape(-1, 2), np.asarray(sizes, dtype=float).reshape(-1, 2)
    if len(points) != len(sizes) or not (np.isfinite(points).all() and np.isfinite(sizes).all()):
        raise InputError("one size per point, all finite", got=f"{len(points)} points and {len(sizes)} sizes")
    distance = np.linalg.norm(points[:, None] - points[None], axis=2) + np.diag(np.full(len(points), np.inf))
    taken: list[np.ndarray] = []
    found: list[tuple[float, float] | None] = [None] * len(points)
    for i in distance.min(1, initial=np.inf).argsort(kind="stable"):
        for low in _around(points[i], sizes[i], gap, rings):
            high = low + sizes[i]
            inside = (low >= 0).all() and (high <= bounds).all()
            away = np.linalg.norm(
                np.maximum(0, np.maximum(low - points, points - high)), axis=1
            )  # from label to points
            if inside and away.argmin() == i and not any(_meet(low, high, box, gap / 2) for box in taken):
                found[i] = float(low[0]), float(low[1])
                taken.append(np.stack([low, high]))
                break
    return found


def _around(point: np.ndarray, size: np.ndarray, gap: float, rings: int) -> Iterator[np.ndarray]:
    """Yield lower left corners: right, left, above, below, then aslant; first the nearest ring."""
    for far in (gap * (ring + 1) for ring in range(rings)):
        for way in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)):
            way = np.array(way)
            yield point + way * far * (0.7 if way.all() else 1) + (way - 1) * size / 2


def _meet(low: np.ndarray, high: np.ndarray, box: np.ndarray, gap: float) -> bool:
    """Say whether two labels overlap, or stand in one row less than `gap` apart."""
    apart = np.array([gap, 0])
    return bool((low - apart < box[1]).all() and (high + apart > box[0]).all())
