"""Explanations of text as a piece of HTML: it wraps as text does, can be searched, and is read aloud with its values.

No script, nothing from the network; colours for light and for dark pages (this book, JupyterLab, Colab, VS Code).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from matplotlib.colors import LinearSegmentedColormap, to_hex

from bigmodel_lab.plot.canvas import POSITIVE, SIGNED
from bigmodel_lab.plot.words import Words, ink, number, shown

__all__ = ["Html", "tokens_html"]

STEPS = 8  # shades of each sign; the value itself stands in the title
# on dark pages strong is bright
DARK = LinearSegmentedColormap.from_list("dark", ["#B5DAFF", "#2F7FC4", "#22272E", "#C4503B", "#FFC0AD"])
HOSTS = (
    'html[data-theme="dark"]',
    'html[theme="dark"]',
    'body[data-jp-theme-light="false"]',
    "body.vscode-dark",
)
LAYOUT = """
.lab-words{max-width:44rem;line-height:2.1}
.lab-words p{margin:0 0 .5rem}
.lab-words p.lab-m{margin:0;font-weight:600;line-height:1.5}
.lab-words p.lab-k{font-size:.85em}
.lab-words span{display:inline-block;line-height:1.35;padding:.08em .28em;border-radius:.25em;\
box-shadow:inset 0 0 0 1px rgba(128,128,128,.35);white-space:pre-wrap}
.lab-words b{text-decoration:underline 2px;text-underline-offset:.2em;font-weight:600}
.lab-words small{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.lab-words.lab-n span{text-align:center}
.lab-words.lab-n small{position:static;display:block;width:auto;height:auto;clip-path:none;font-size:.7em;\
font-weight:400;font-variant-numeric:tabular-nums}
"""


@dataclass(frozen=True, repr=False)
class Html:
    """A piece of HTML that a notebook shows as the result of a cell."""

    text: str
    summary: str = "HTML"

    def _repr_html_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        """Say in one line what it shows, for where HTML is not shown."""
        return f"Html({self.summary}, {len(self.text.encode()) / 1000:.1f} kB)"


def tokens_html(
    words: Sequence[str],
    values,
    *,
    truth=None,
    scale: str = "method",
    numbers: bool = False,
    label: str = "attribution",
) -> Html:
    """Return the words of one text on the colours of their values, as `plot.tokens` draws them, as HTML.

    `values` maps each method's name to its values (T,), or is one array (T,). Each word carries its value as a title,
    and as text for those who listen; `numbers` shows it to all. `truth` (T,) underlines the words that matter.
    """
    text = Words.of(words, values, truth=truth, scale=scale)
    lines = []
    for method, given in text.values.items():
        if method:
            lines.append(f'<p class="lab-m">{escape(method.replace("_", " "))}</p>')
        limit = text.limits[method]
        chips = [
            _chip(shown(word), number(value, limit), value / limit, matters)
            for word, value, matters in zip(text.words, given, text.truth, strict=True)
        ]
        lines.append(f"<p>{' '.join(chips)}</p>")
    low, high = text.ends
    shades = [f'<span class="{_shade(i / 4)}" aria-hidden="true"> </span>' for i in range(-4 * text.signed, 5)]
    marked = "; underlined: what matters" if text.truth.any() else ""
    lines.append(f'<p class="lab-k">{low} {"".join(shades)} {high}: {escape(label)}{marked}</p>')
    kind = "lab-words lab-n" if numbers else "lab-words"
    body = f'<div class="{kind}"><style>{_style(text.signed)}</style>\n' + "\n".join(lines) + "\n</div>"
    return Html(body, f"{len(text.words)} words, {len(text.values)} methods")


def _chip(word: str, value: str, share: float, matters: bool) -> str:
    kind, word = _shade(share), escape(word)
    word = f"<b>{word}</b>" if matters else word
    said = f"{value}, matters" if matters else value
    kind = f' class="{kind}"' if kind else ""
    return f'<span{kind} title="{said}">{word}<small> {value}</small></span>'


def _shade(share: float) -> str:
    """Return the class of a value that is this share of its scale: "" near zero, lab-p1 ... lab-p8, lab-m1 ..."""
    step = round(min(abs(share), 1) * STEPS)
    return f"lab-{'p' if share > 0 else 'm'}{step}" if step else ""


def _style(signed: bool) -> str:
    rules = [LAYOUT.strip()]
    for dark in (False, True):
        for sign in (1, -1) if signed else (1,):
            for step in range(1, STEPS + 1):
                share = sign * step / STEPS
                mixed = DARK((share + 1) / 2) if dark else SIGNED((share + 1) / 2) if signed else POSITIVE(share)
                name = f".lab-words .{_shade(share)}"
                where = f":is({','.join(HOSTS)}) {name}" if dark else name
                rules.append(f"{where}{{background:{to_hex(mixed)};color:{ink(mixed)}}}")
    return "\n".join(rules)
