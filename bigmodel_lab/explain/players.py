"""Players: which parts of an input are present or absent together, when a method switches parts off.

Dimension letters: B examples, C channels, H height, W width, T tokens or time steps, n players, M coalitions, R rows.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from bigmodel_lab.errors import InputError

__all__ = ["Players", "grid"]


def grid(height: int, width: int, rows: int = 4, columns: int = 4) -> Tensor:
    """Cut an image into `rows` × `columns` rectangles, numbered row by row: the player of each pixel, (H, W) int64."""
    if not (1 <= rows <= height and 1 <= columns <= width):
        raise InputError(
            f"from 1 to {height} rows and from 1 to {width} columns, for an image of {height} × {width}",
            got=f"{rows} rows and {columns} columns",
        )
    down, across = (torch.arange(size) * parts // size for size, parts in ((height, rows), (width, columns)))
    return down[:, None] * columns + across


class Players:
    """The players of a batch of inputs, and what follows from who is present."""

    def __init__(self, inputs: Tensor, groups: Tensor | None = None) -> None:
        """Number the parts of `inputs` (B, ...) by `groups`: integers 0 ... n - 1 of the shape of one example, of all
        examples, or one that broadcasts to them, such as (H, W) for images.

        Without groups: each token or feature of (B, T), each time step of (B, T, D), 4 × 4 rectangles of an image.
        """
        self.shape = inputs.shape
        groups = _standard(inputs) if groups is None else groups
        self.groups = _checked(inputs, groups).to(inputs.device)  # (1 or B, ...), as small as it came
        self.count = int(self.groups.max()) + 1
        self.shared = len(self.groups) == 1 or len(inputs) == 1

    def present(self, coalitions: Tensor, example: Tensor) -> Tensor:
        """Return where the inputs stay: coalitions (R, n) of the examples (R,) -> what broadcasts to (R, ...)."""
        if self.shared:
            return coalitions.index_select(1, self.groups[0].flatten()).view(-1, *self.groups.shape[1:])
        places = self.groups[example].flatten(1)  # (R, elements)
        return coalitions.gather(1, places).view(-1, *self.groups.shape[1:])

    def rows(self, inputs: Tensor, base: Tensor, coalitions: Tensor) -> Callable[[int, int], Tensor]:
        """Return `make(start, stop)`: rows of inputs (B, ...), absent players replaced by `base`.

        Row r is example r // M with coalition r % M of `coalitions` (M, n) bool.
        """

        one_base = base.stride(0) == 0 or len(base) == 1  # the same for all examples
        numbers = inputs.is_floating_point()
        coalitions = coalitions.to(inputs.dtype) if numbers else coalitions

        def make(start: int, stop: int) -> Tensor:
            row = torch.arange(start, stop, device=inputs.device)
            example = row // len(coalitions)
            stays = self.present(coalitions.index_select(0, row % len(coalitions)), example)
            there, absent = inputs.index_select(0, example), base[:1] if one_base else base.index_select(0, example)
            # lerp by 0 or 1 is exact, and three times as fast as where
            return torch.lerp(absent, there, stays) if numbers else torch.where(stays, there, absent)

        return make

    def whole(self, values: Tensor) -> Tensor:
        """Give each player's value (B, n) whole to each of its elements: (B, ...), the shape of the inputs."""
        return values.gather(1, self._elements()).view(self.shape)

    def spread(self, values: Tensor) -> Tensor:
        """Give each player's value (B, n) to its elements in equal parts: (B, ...), the shape of the inputs."""
        return self.whole(values / self._sizes().to(values))

    def collect(self, values: Tensor) -> Tensor:
        """Return each player's share of `values` (B, ...), the sum over its elements: (B, n). Undoes `spread`."""
        summed = torch.zeros(len(values), self.count, dtype=values.dtype, device=values.device)
        return summed.scatter_add_(1, self._elements(), values.flatten(1))

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of `values` (B, ...) over each player's elements: (B, n). Undoes `whole`."""
        return self.collect(values) / self._sizes().to(values)

    def _elements(self) -> Tensor:
        """Return the player of each element, (B, elements)."""
        return self.groups.expand(self.shape).flatten(1)

    def _sizes(self) -> Tensor:
        """Return how many elements each player has, (B, n), at least 1."""
        ones = torch.ones(self.shape, device=self.groups.device)
        return self.collect(ones).clamp_min(1)


def _standard(inputs: Tensor) -> Tensor:
    if inputs.ndim == 2:
        return torch.arange(inputs.shape[1])
    if inputs.ndim == 3:
        return torch.arange(inputs.shape[1])[:, None]
    if inputs.ndim == 4:
        height, width = inputs.shape[2:]
        return grid(height, width, min(4, height), min(4, width))
    hint = "groups=torch.arange(...) of the shape of one example"
    raise InputError("groups for inputs of more than four dimensions", got=f"shape {tuple(inputs.shape)}", hint=hint)


def _checked(inputs: Tensor, groups: Tensor) -> Tensor:
    """Return groups with as many dimensions as the inputs; refuse what does not number the parts."""
    expected = f"groups, integers 0 ... n - 1 that broadcast to {tuple(inputs.shape)}"
    if (
        not isinstance(groups, Tensor)
        or groups.is_floating_point()
        or groups.is_complex()
        or groups.dtype == torch.bool
    ):
        got = f"{groups.dtype}" if isinstance(groups, Tensor) else type(groups).__name__
        raise InputError(expected, got=got, hint="explain.grid(height, width, rows, columns) for an image")
    fits = 1 <= groups.ndim <= inputs.ndim and all(
        have in (1, want) for have, want in zip(groups.shape[::-1], inputs.shape[::-1], strict=False)
    )
    if not fits or not groups.numel():
        raise InputError(expected, got=f"shape {tuple(groups.shape)}")
    groups = groups.view(*[1] * (inputs.ndim - groups.ndim), *groups.shape).long()
    if len(known := groups.unique()) != int(known[-1]) + 1 or known[0] != 0:
        listed = ", ".join(map(str, known[:8].tolist())) + (" ..." if len(known) > 8 else "")
        hint = "groups.unique(return_inverse=True)[1] numbers them without gaps"
        raise InputError("every number from 0 to n - 1 in groups", got=listed, hint=hint)
    return groups
