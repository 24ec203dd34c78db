"""Statements about drawn images: in words, true or not, and turned into false ones of the same words.

A statement is eight numbers: shape, colour, size of an object, the same of another (-1: not said), what the first is to
the second, and the place of a single one.
Dimension letters: N images, C statements; an image has one or two objects.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from bigmodel_lab.errors import InputError

__all__ = [
    "HELD_OUT",
    "HUES",
    "SHAPES",
    "SIZES",
    "STARTS",
    "describes",
    "exchange",
    "falsified",
    "names_held_out",
    "sentence",
]

SHAPES = ("disc", "square", "triangle", "bar", "cross", "ring")
HUES = ("red", "yellow", "green", "blue", "purple", "white")
SIZES = ("small", "large")
HELD_OUT = (  # in no training image, in no training caption; every colour and every shape is in one of them
    ("yellow", "disc"),
    ("blue", "square"),
    ("white", "triangle"),
    ("red", "bar"),
    ("green", "cross"),
    ("purple", "ring"),
)
ALONE, AND, LEFT, ABOVE = range(4)  # what a statement says of its first object and its second
WAYS = {AND: ("and", "and"), LEFT: ("left of", "right of"), ABOVE: ("above", "below")}
PLACES = ("", " on the left", " on the right", " at the top", " at the bottom")
STARTS = ("", "there is ", "a photo of ", "we see ", "this is ")
OFF = 4 / 32  # how far from the middle "on the left" begins, as part of the side


def sentence(statement: Sequence[int] | Tensor, *, start: str = "", turned: bool = False) -> str:
    """Return a statement in words, behind `start`; `turned` names the second object first.

    A statement is eight numbers: shape, colour, size of an object, the same of another (-1: not said), what the first
    is to the second (0 nothing, there is one; 1 and; 2 left of; 3 above), and the place of a single one (an index in
    `PLACES`). Raises `InputError` for anything else.
    """
    row = [int(v) for v in statement]
    low, high = [-1] * 6 + [0, 0], [5, 5, 1, 5, 5, 1, 3, 4]
    if len(row) != 8 or not all(a <= v <= b for a, v, b in zip(low, row, high, strict=True)):
        raise InputError("eight numbers: shape, colour, size, shape, colour, size, relation, place", got=repr(row))
    first, relation = _noun(row[:3]), row[6]
    if relation == ALONE:
        return f"{start}{first}{PLACES[row[7]]}"
    pair = (_noun(row[3:6]), first) if turned else (first, _noun(row[3:6]))
    return f"{start}{pair[0]} {WAYS[relation][turned]} {pair[1]}"


def describes(statements: Tensor, objects: Tensor, centres: Tensor) -> Tensor:
    """Return which of C statements (C, 8) are true of which of N images, (C, N) bool.

    `objects` (N, 2, 3) and `centres` (N, 2, 2) are those of a `CaptionSet`. A statement about two objects is true where
    one object fits the first part and the *other* one the second. "left of" and "above" speak along the direction in
    which the two are further apart.
    """
    said = statements[:, None, None, :]  # (C, 1, 1, 8)
    there = (objects[..., 0] >= 0)[None]  # (1, N, 2)

    def fits(part: Tensor) -> Tensor:
        return (((part < 0) | (part == objects[None])).all(-1)) & there  # (C, 1, 1, 3) -> (C, N, 2)

    first, second = fits(said[..., :3]), fits(said[..., 3:6]).flip(2)  # of the other object
    off = centres - 0.5  # (N, 2, 2)
    places = torch.stack([off[..., 0] < -OFF, off[..., 0] > OFF, off[..., 1] < -OFF, off[..., 1] > OFF])
    places = torch.cat([torch.ones_like(places[:1]), places])  # (5, N, 2): no place said is true anywhere
    apart = centres.flip(1) - centres  # (N, 2, 2), to the other object
    wide = (apart[..., 0].abs() > apart[..., 1].abs()) & there[0].all(1, keepdim=True)
    ways = torch.stack([wide & (apart[..., 0] > 0), ~wide & (apart[..., 1] > 0)])  # (2, N, 2)
    ways = torch.cat([torch.ones_like(ways[:1]).expand(2, -1, -1), ways])  # (4, N, 2)
    relation = statements[:, 6]
    alone = (relation == ALONE)[:, None, None]
    return (first & (second | alone) & places[statements[:, 7]] & ways[relation]).any(2)


def exchange(statements: Tensor, what: str) -> Tensor:
    """Return statements (C, 8) with their two objects' "colours" or places in the "order" exchanged: same words.

    Where nothing can be exchanged (one object, a colour not named, "and" for the order), the statement stays as it is.
    """
    if what not in ("colours", "order"):
        raise InputError('"colours" or "order"', got=repr(what))
    first, second = statements[:, 0:3].clone(), statements[:, 3:6].clone()
    if what == "order":
        turn = (statements[:, 6] >= LEFT)[:, None].expand(-1, 3)
    else:
        turn = ((statements[:, 6] != ALONE) & (first[:, 1] >= 0) & (second[:, 1] >= 0))[:, None].repeat(1, 3)
        turn[:, [0, 2]] = False
    pair = torch.where(turn, second, first), torch.where(turn, first, second)
    return torch.cat([*pair, statements[:, 6:]], 1)


def falsified(statements: Tensor, generator: torch.Generator) -> Tensor:
    """Return for each statement (C, 8) one that is false of a drawn image of which the first is true.

    Colours or order are exchanged, by a fair coin where both can be; where neither can, or the exchange would make a
    pair of `HELD_OUT`, the first object's colour (its shape where no colour is named) is replaced by another. False is
    certain where the first names both objects with their colours; of an image with an object that is not spoken of,
    one in a hundred is true by chance: "a blue shape" for "a red shape", beside something blue.
    """
    colours, order = (exchange(statements, what) for what in ("colours", "order"))
    could = [(other != statements).any(1) & ~names_held_out(other) for other in (colours, order)]
    could[0] &= (statements[:, 6] != AND) | (statements[:, [0, 3]] >= 0).any(1)  # two colours alone: the same again
    coin = torch.rand(len(statements), generator=generator) < 0.5
    by_colour = could[0] & (coin | ~could[1])
    replaced = statements.clone()
    step = torch.randint(1, 6, (5, len(statements)), generator=generator)
    column = (statements[:, 1] >= 0).long()[:, None]  # 1: the colour, 0: the shape
    for some in step:  # again where it hit a pair held out
        again = names_held_out(replaced) | (replaced == statements).all(1)
        new = (statements.gather(1, column) + some[:, None]) % 6
        replaced = torch.where(again[:, None], statements.scatter(1, column, new), replaced)
    found = torch.where(could[1][:, None], order, replaced)
    return torch.where(by_colour[:, None], colours, found)


def names_held_out(statements: Tensor) -> Tensor:
    """Return which statements (C, 8) name a pair of HELD_OUT, (C,) bool."""
    table = torch.tensor([[(colour, shape) in HELD_OUT for colour in HUES] for shape in SHAPES])
    parts = statements[:, [0, 1, 3, 4]].unflatten(1, (2, 2))  # (C, 2 objects, shape and colour)
    return (table[parts[..., 0], parts[..., 1]] & (parts >= 0).all(2)).any(1)


def _noun(said: Sequence[int]) -> str:
    """Return "a [size] [colour] shape" of shape, colour, size; -1 is left out."""
    shape, colour, size = said
    words = [SIZES[size]] * (size >= 0) + [HUES[colour]] * (colour >= 0)
    return " ".join(["a", *words, SHAPES[shape] if shape >= 0 else "shape"])
