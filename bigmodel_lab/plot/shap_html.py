"""SHAP's plot of a text (Lundberg & Lee 2017; the package shap) as plain HTML, in the course's colours.

SHAP writes NumPy scalars where a browser expects numbers, and hides its values behind scripts; both are mended here.
Dimension letter: T words.
"""

import hashlib
import random
import re
from collections.abc import Sequence
from html import escape

import numpy as np

from bigmodel_lab.plot.canvas import array
from bigmodel_lab.plot.html import Html
from bigmodel_lab.plot.shap_plots import BLUE, RED, quiet_shap
from bigmodel_lab.plot.words import Words, shown

__all__ = ["shap_text"]


def shap_text(words: Sequence[str], values, *, base: float = 0.0, output: str = "") -> Html:
    """Return SHAP's text plot of one text: the force plot of its words' values (T,) from `base` on, and the words.

    It holds no script and loads nothing; a word's value is its title. `output` names what is explained.
    """
    text = Words.of(words, array(values))
    (given,) = text.values.values()
    pieces = [shown(word).replace("&", "&amp;") + " " for word in text.words]  # SHAP escapes < and >
    seed = hashlib.sha256(repr((text.words, given.tolist(), base)).encode()).digest()
    with quiet_shap() as shap:
        random.seed(seed)  # the same page each time; put back by `quiet_shap`
        told = shap.Explanation(given.astype(float), base_values=np.float64(base), data=np.array(pieces))
        if output:
            told.output_names = escape(output)
        raw = shap.plots.text(told, display=False)
    style = "background:#fff;color:#000;border-radius:.4em;padding:.6em;overflow-x:auto;max-width:44rem"
    says = f"SHAP values of {len(text.words)} words"
    body = f'<div style="min-width:30rem;line-height:1.7">{_plain(raw)}</div>'
    return Html(f'<div style="{style}" role="group" aria-label="{says}" tabindex="0">{body}</div>', says)


def _plain(raw: str) -> str:
    """Turn SHAP's text plot into HTML that a browser shows without scripts, in our colours."""
    raw = re.sub(r"np\.float64\(([^()]*)\)", r"\1", raw)  # written by NumPy 2, where CSS wants the number
    raw = re.sub(r"""\son\w+\s*=\s*("[^"]*"|'[^']*')""", "", raw)
    raw = re.sub(r"<script.*?</script>", "", raw, flags=re.DOTALL)
    # what only the scripts would have shown: lines and numbers under the force plot, numbers over the words
    raw = re.sub(r'<line [^>]*opacity: 0"\s*/>|<text [^>]*style="opacity: 0"[^>]*>[^<]*</text>', "", raw)
    hidden = r"<div style='display: none;[^>]*>([^<]*)</div\s*><div id='[^']*'"
    raw = re.sub(hidden, r'<div title="\1"', raw)
    raw = re.sub(r"\s(?:id)=('[^']*_ind_\d+'|\"[^\"]*_ind_\d+\")", "", raw)
    raw = re.sub(r"\d+\.\d{3,}(?=%)", lambda found: f"{float(found[0]):.2f}", raw)
    return re.sub(r"\s+", " ", re.sub(r"rgba?\(([^()]*)\)", _colour, raw))


def _colour(found: re.Match) -> str:
    parts = [float(part) for part in found[1].split(",")]
    red, green, blue = parts[:3]
    if red == green == blue:
        return "#555" if 80 < red < 200 else found[0]  # axes and small letters, easier to read
    if len(parts) == 3:  # shapes with white letters on them
        return RED if red > blue else BLUE
    return f"rgba({'239,112,87' if red > blue else '90,160,220'},{parts[3]:.2f})"  # below black letters
