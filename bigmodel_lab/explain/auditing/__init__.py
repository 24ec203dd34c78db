"""What in a model makes which explanation method wrong, and a rewrite that mends it.

Captum and shap hang rules onto modules. A ReLU that is called as a function, a module that is called twice, a layer
without a rule: the method runs through and its values are wrong. `audit` runs the model once and lists all of these;
`mend` rewrites it by torch.fx (Reed et al. 2022, arXiv 2112.08429) so that its outputs stay and the methods are right.
"""

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.auditing.examples import example_for
from bigmodel_lab.explain.auditing.findings import find
from bigmodel_lab.explain.auditing.mending import mend
from bigmodel_lab.explain.auditing.record import record
from bigmodel_lab.explain.auditing.report import Audit, Finding

__all__ = ["Audit", "Finding", "audit", "mend"]


def audit(model: nn.Module, example_inputs: Tensor | None = None) -> Audit:
    """Return what in `model` makes which explanation method silently wrong, or makes it fail.

    The model runs once on `example_inputs` (B, ...), two of them at most; without, on made-up ones that fit its first
    layer. Every function and module call that depends on the input is judged by itself, see `judge.py`; the model is
    left as it was.

    What it cannot see: code that these inputs do not reach, branches that look at values, and what compiled modules
    (TorchScript, custom kernels) do inside. A wrong method may be nearly right on some inputs.
    """
    if not isinstance(model, nn.Module):
        got = type(model).__name__
        raise InputError("an nn.Module", got=got, hint="wrap the function in a small nn.Module that holds the model")
    notes = ()
    if example_inputs is None:
        example_inputs = example_for(model)
        notes = (f"made-up inputs of shape {tuple(example_inputs.shape)}; give example_inputs for your own",)
    elif not isinstance(example_inputs, Tensor) or example_inputs.ndim < 2 or not example_inputs.numel():
        raise InputError(
            "example inputs as a tensor (B, ...)", got=_kind(example_inputs), hint="x.unsqueeze(0) for one"
        )
    inputs = example_inputs[:2]
    with torch.inference_mode(False):
        inputs = inputs.clone() if inputs.is_inference() else inputs
        found = find(model, record(model, inputs))
    return Audit(model=type(model).__name__, findings=tuple(found), inputs=tuple(inputs.shape), notes=notes)


def _kind(thing: object) -> str:
    return f"shape {tuple(thing.shape)}" if isinstance(thing, Tensor) else type(thing).__name__
