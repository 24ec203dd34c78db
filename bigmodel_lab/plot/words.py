"""Pictures of explanations of text: each word on the colour of its value, red for the explained score, blue against.

Dimension letter: T words or tokens of one text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch
from matplotlib.textpath import text_to_path

from bigmodel_lab.errors import InputError
from bigmodel_lab.plot.canvas import POSITIVE, SIGNED, array, named, reach

__all__ = ["Words", "drawable", "ink", "number", "shown", "tokens"]

WIDTH, MARGIN = 390.0, 6.0  # points: 5.4 inches, as wide as the pictures of images
LETTERS, CHIP, GAP = 10.5, 17.0, 3.5  # points: height of letters and of a word's box, room between boxes
SIGNS = {"\n": "⏎", "\r": "⏎", "\t": "⇥"}
# fonts with Chinese and Japanese characters, which matplotlib's own lacks; the first that is installed is used
FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Arial Unicode MS",
    "Microsoft YaHei",
    "SimHei",
)


@dataclass(frozen=True)
class Words:
    """One text with the values that each method gives its words, and the value at which each scale ends."""

    words: tuple[str, ...]
    values: dict[str, np.ndarray]  # method -> (T,)
    limits: dict[str, float]  # method -> where its scale ends
    truth: np.ndarray  # (T,) bool: the words that matter, as far as that is known
    together: bool  # one scale for all methods

    @classmethod
    def of(cls, words: Sequence[str], values, *, truth=None, scale: str = "method") -> "Words":
        """Check and scale. Raises `InputError` where lengths differ."""
        if isinstance(words, str):
            raise InputError("a list of words", got="one string", hint="words=text.split()")
        found, count = named(values), len(words)
        for name, one in found.items():
            if one.shape != (count,):
                raise InputError(
                    f"values {f'of {name} ' if name else ''}of shape ({count},), one per word",
                    got=f"shape {one.shape}",
                    hint="give one text: values[i] with its own words, without the padding",
                )
        if not count:
            raise InputError("at least one word", got="none")
        marked = np.zeros(count, bool) if truth is None else array(truth).astype(bool)
        if marked.shape != (count,):
            raise InputError(f"truth of shape ({count},), one per word", got=f"shape {marked.shape}")
        if scale not in ("method", "global"):
            raise InputError('scale="method" or scale="global"', got=repr(scale))
        together = scale == "global"
        limits = {name: reach(found.values() if together else [one], 100) for name, one in found.items()}
        return cls(tuple(map(str, words)), found, limits, marked, together)

    @property
    def signed(self) -> bool:
        """Say whether any value is negative."""
        return any(one.min() < 0 for one in self.values.values())

    @property
    def ends(self) -> tuple[str, str]:
        """Return what stands at the two ends of the colour bar."""
        if not self.together and len(self.values) > 1:
            return ("−max" if self.signed else "0", "max of each method")
        limit = next(iter(self.limits.values()))
        return (f"−{limit:.2g}" if self.signed else "0", f"{limit:.2g}")


def ink(colour) -> str:
    """Return black or white, whichever is easier to read on an RGB colour (WCAG 2 relative luminance)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return "black" if np.dot(linear, (0.2126, 0.7152, 0.0722)) > 0.179 else "white"


def shown(word: str) -> str:
    """Return a word as it can be seen: line ends and tabs as signs, blanks around it cut, one of blanks alone as ␣."""
    seen = "".join(SIGNS.get(letter, letter) for letter in word)
    return seen.strip() or ("␣" if seen else "∅")


def number(value: float, limit: float) -> str:
    """Return a value with its sign and so many digits that three of the largest, `limit`, count."""
    digits = int(np.clip(2 - np.floor(np.log10(limit)), 0, 8))
    return f"{value:+.{digits}f}".replace("-", "−")


def drawable(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return texts and font families that draw them without a warning; a letter of no font becomes its number."""
    families = list(plt.rcParams["font.family"])
    fonts = [font_manager.get_font(font_manager.findfont(font_manager.FontProperties(family=families)))]
    letters = set("".join(texts))

    def missing() -> set[str]:
        return {letter for letter in letters if not any(font.get_char_index(ord(letter)) for font in fonts)}

    if missing():
        installed = set(font_manager.get_font_names())
        for name in [name for name in FALLBACKS if name in installed][:1]:
            families.append(name)
            fonts.append(font_manager.get_font(font_manager.findfont(name)))
    gone = missing()
    return ["".join(f"\\u{ord(c):x}" if c in gone else c for c in text) for text in texts], families


def tokens(
    words: Sequence[str],
    values,
    *,
    truth=None,
    scale: str = "method",
    numbers: bool = False,
    label: str = "attribution",
) -> Axes:
    """Draw the words of one text on the colours of their values; several methods stand below one another.

    `values` maps each method's name to its values (T,), or is one array (T,). With `scale="method"` each method's
    colours end at its own largest |value|, with "global" all end at the same. `truth` (T,) underlines the words that
    matter; `numbers` writes the values below. `tokens_html` shows the same as text.
    """
    text = Words.of(words, values, truth=truth, scale=scale)
    names, family = drawable([shown(word) for word in text.words])
    font = font_manager.FontProperties(family=family, size=LETTERS)
    widths = [text_to_path.get_text_width_height_descent(name, font, False)[0] + 8 for name in names]
    widths = [max(width, 27.0 if numbers else 0.0) for width in widths]
    places, x, line = [], MARGIN, 0  # left end and line of each box, the same for each method
    for width in widths:
        if x > MARGIN and x + width > WIDTH - MARGIN:
            x, line = MARGIN, line + 1
        places.append((x, line))
        x += width + GAP
    step = CHIP + GAP + 2 + (9 if numbers else 0)
    head = 15.0 if any(text.values) else 2.0
    block = head + (line + 1) * step + 5
    height = MARGIN + block * len(text.values) + 26
    figure = plt.figure(figsize=(WIDTH / 72, height / 72))
    figure.set_layout_engine("none")
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(height, 0))
    ax.set_axis_off()
    colours = SIGNED if text.signed else POSITIVE
    for i, (method, given) in enumerate(text.values.items()):
        top = MARGIN + i * block
        ax.text(MARGIN, top, method.replace("_", " "), fontsize=9.5, weight="bold", va="top", parse_math=False)
        share = given / text.limits[method]
        for t, (left, row) in enumerate(places):
            y = top + head + row * step
            colour = colours((share[t] + 1) / 2 if text.signed else share[t])
            box = FancyBboxPatch((left, y), widths[t], CHIP, boxstyle="round,pad=0,rounding_size=3")
            box.set(facecolor=colour, edgecolor="0.8", linewidth=0.5)
            ax.add_patch(box)
            middle = left + widths[t] / 2
            style = {"ha": "center", "color": ink(colour), "fontproperties": font, "parse_math": False}
            ax.text(middle, y + CHIP * 0.72, names[t], **style)
            if text.truth[t]:
                ax.plot([left + 1, left + widths[t] - 1], [y + CHIP + 1.9] * 2, color="black", linewidth=1.8)
            if numbers:
                ax.text(
                    middle,
                    y + CHIP + 4.5,
                    number(given[t], text.limits[method]),
                    ha="center",
                    va="top",
                    fontsize=7.5,
                    color="0.25",
                )
    _key(ax, text, height, colours, label)
    return ax


def _key(ax: Axes, text: Words, height: float, colours, label: str) -> None:
    """Draw the colour bar at the bottom, what stands at its ends, and what the underline means."""
    y, left, long = height - 22, MARGIN + (30 if text.signed else 12), 90
    ramp = np.linspace(0, 1, 128)[None]
    ax.imshow(ramp, cmap=colours, extent=(left, left + long, y + 8, y), aspect="auto", interpolation="bilinear")
    ax.set(xlim=(0, WIDTH), ylim=(height, 0))
    style = {"fontsize": 8.5, "va": "center", "color": "0.2", "parse_math": False}
    low, high = text.ends
    ax.text(left - 4, y + 4, low, ha="right", **style)
    ax.text(left + long + 4, y + 4, f"{high}: {label}", **style)
    if text.truth.any():
        ax.text(WIDTH - MARGIN, y + 4, "underlined: what matters", ha="right", **style)
