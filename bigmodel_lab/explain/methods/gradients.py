"""Methods that need one or a few gradients of the score with respect to the inputs.

Sources are named by each function. Dimension letters: B examples, T tokens, C embedding width.
"""

from captum.attr import Saliency
from torch import Tensor, nn

from bigmodel_lab.explain.contract import Explanation, Forward, Target, running

__all__ = ["saliency"]


def saliency(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
) -> Explanation:
    """Return |∂f/∂x|, how steep the score is at each input (Simonyan et al. 2014, arXiv 1312.6034); no baseline.

    For token ids: the length (2-norm) of each token's gradient.
    """
    with running("saliency", forward, inputs, target, baseline, embedding=embedding) as run:
        values = run.each(
            lambda part: Saliency(run.scores).attribute(part.x, abs=run.ids is None, additional_forward_args=part.extra)
        )
        return run.explanation(values.norm(dim=-1) if run.ids is not None else values, gap=False)
