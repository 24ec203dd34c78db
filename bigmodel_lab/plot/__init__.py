"""Pictures: of histories, images, tables of numbers, explanations and costs. It knows no model and no data.

Every function takes plain arrays or tensors. Most return matplotlib axes; `tokens_html`, `timeline_html`, `shap_text`,
`audio`, `animation` and `cost_calculator` return `Html`.
"""

from bigmodel_lab.plot.basics import bars, confusion, curves, heatmaps, images, regions
from bigmodel_lab.plot.boards import convergence, scoreboard
from bigmodel_lab.plot.calculator import cost_calculator
from bigmodel_lab.plot.canvas import PALETTE, POSITIVE, SIGNED, use_style
from bigmodel_lab.plot.dates import timeline, timeline_html
from bigmodel_lab.plot.explanations import attention, attributions
from bigmodel_lab.plot.html import Html, tokens_html
from bigmodel_lab.plot.media import animation, audio
from bigmodel_lab.plot.shap_html import shap_text
from bigmodel_lab.plot.shap_plots import beeswarm, shap_image, waterfall
from bigmodel_lab.plot.words import tokens

__all__ = [
    "PALETTE",
    "POSITIVE",
    "SIGNED",
    "Html",
    "animation",
    "attention",
    "attributions",
    "audio",
    "bars",
    "beeswarm",
    "confusion",
    "convergence",
    "cost_calculator",
    "curves",
    "heatmaps",
    "images",
    "regions",
    "scoreboard",
    "shap_image",
    "shap_text",
    "timeline",
    "timeline_html",
    "tokens",
    "tokens_html",
    "use_style",
    "waterfall",
]
