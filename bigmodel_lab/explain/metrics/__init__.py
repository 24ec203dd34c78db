"""Metrics of explanations: each one function that gives one score per example, (B,) float64 on the CPU.

What a metric needs is said by the names of its arguments: `values` (an explanation's, in the shape of the inputs),
`truth` and `distractor` (masks of places), `forward`, `inputs`, `target`, `baseline`, `embedding` as every method
takes them, `explain` (`explain(forward, inputs) -> values`), `seed`. `METRICS` says which way is better, and in which
range. NaN marks an example that a metric does not judge; input that is wrong raises `InputError`. The score of an
example depends on no other: random draws are the same for each.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from torch import Tensor

from bigmodel_lab.explain.metrics.concentration import gini
from bigmodel_lab.explain.metrics.curves import comprehensiveness, deletion, insertion, sufficiency
from bigmodel_lab.explain.metrics.faithfulness import completeness, infidelity
from bigmodel_lab.explain.metrics.places import heat, summed
from bigmodel_lab.explain.metrics.robustness import max_sensitivity, randomisation, randomised
from bigmodel_lab.explain.metrics.truth import distractor_mass, pixel_auc, pointing_game, relevance_mass, relevance_rank

__all__ = [
    "METRICS",
    "Metric",
    "completeness",
    "comprehensiveness",
    "deletion",
    "distractor_mass",
    "gini",
    "heat",
    "infidelity",
    "insertion",
    "max_sensitivity",
    "pixel_auc",
    "pointing_game",
    "randomisation",
    "randomised",
    "relevance_mass",
    "relevance_rank",
    "sufficiency",
    "summed",
]


@dataclass(frozen=True)
class Metric:
    """A metric, and how to read its scores."""

    function: Callable[..., Tensor]  # arguments by name -> scores (B,)
    higher_is_better: bool
    low: float  # no score is below
    high: float  # no score is above
    reference: str  # where it comes from

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the arguments that it cannot do without."""
        asked = inspect.signature(self.function).parameters.values()
        return tuple(one.name for one in asked if one.default is one.empty)


_ARRAS = "Arras et al. (2022), CLEVR-XAI, arXiv 2003.07258"
_RISE = "Petsiuk et al. (2018), RISE, arXiv 1806.07421"
_ERASER = "DeYoung et al. (2020), ERASER, arXiv 1911.03429"
_YEH = "Yeh et al. (2019), arXiv 1901.09392"

METRICS: dict[str, Metric] = {
    "relevance_mass": Metric(relevance_mass, True, 0, 1, _ARRAS),
    "relevance_rank": Metric(relevance_rank, True, 0, 1, _ARRAS),
    "pointing_game": Metric(pointing_game, True, 0, 1, "Zhang et al. (2018), arXiv 1608.00507"),
    "pixel_auc": Metric(pixel_auc, True, 0, 1, "Fawcett (2006), doi 10.1016/j.patrec.2005.10.010"),
    "distractor_mass": Metric(distractor_mass, False, 0, 1, f"relevance mass of a distractor; {_ARRAS}"),
    "deletion": Metric(deletion, False, 0, 1, _RISE),
    "insertion": Metric(insertion, True, 0, 1, _RISE),
    "comprehensiveness": Metric(comprehensiveness, True, -1, 1, _ERASER),
    "sufficiency": Metric(sufficiency, False, -1, 1, _ERASER),
    "infidelity": Metric(infidelity, False, 0, inf, _YEH),
    "max_sensitivity": Metric(max_sensitivity, False, 0, inf, _YEH),
    "completeness": Metric(completeness, False, 0, 2, "Sundararajan et al. (2017), arXiv 1703.01365"),
    "randomisation": Metric(
        randomisation, False, -1, 1, "Adebayo et al. (2018), arXiv 1810.03292; Sixt et al. (2020), arXiv 1912.09818"
    ),
    "gini": Metric(gini, True, 0, 1, "Chalasani et al. (2020), arXiv 1810.06583"),
}
