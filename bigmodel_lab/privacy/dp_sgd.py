r"""One step of DP-SGD, written out: a gradient per example, each clipped, summed, and noise added (Abadi et al. 2016).

Source: arXiv 1607.00133, algorithm 1. Opacus does the same faster; the written-out step is what it is compared with.
Dimension letters: B batch (may be 0: Poisson sampling), P parameters.
"""

from collections.abc import Callable, Mapping
from math import isfinite

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from bigmodel_lab.errors import InputError

__all__ = ["clipped_sum", "dp_step", "per_example_gradients"]

Loss = Callable[[Tensor, Tensor], Tensor]


def per_example_gradients(model: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Return for each trained parameter its gradients (B, ...), one per example of inputs and targets (B, ...).

    `loss(outputs, targets)` gives the loss of a batch, here of one. Batch normalisation is refused: it mixes the
    examples, so that none has a gradient of its own.
    """
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules()):
        raise InputError("a model without batch normalisation", got="one with it", hint="nn.GroupNorm or nn.LayerNorm")
    if len(inputs) != len(targets):
        raise InputError("as many targets as inputs", got=f"{len(inputs)} and {len(targets)}")
    trained = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    fixed = {name: p.detach() for name, p in [*model.named_parameters(), *model.named_buffers()] if name not in trained}
    if len(inputs) == 0:
        return {name: p.new_zeros(0, *p.shape) for name, p in trained.items()}

    def one(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return loss(functional_call(model, (parameters, fixed), (x[None],)), y[None])

    return vmap(grad(one), in_dims=(None, 0, 0), randomness="different")(trained, inputs, targets)


def clipped_sum(gradients: Mapping[str, Tensor], clip: float) -> dict[str, Tensor]:
    r"""Return $\sum_b g_b \min(1, C / \lVert g_b \rVert)$, the norm over all parameters together, C = `clip`.

    `gradients` has (B, ...) per parameter. One example moves the sum by at most `clip`: that is what noise can hide.
    """
    if not gradients or len({len(g) for g in gradients.values()}) > 1:
        raise InputError("gradients of the same number of examples", got=str({k: len(g) for k, g in gradients.items()}))
    if not isfinite(clip) or clip <= 0:
        raise InputError("a finite clip above 0", got=repr(clip))
    norms = torch.stack([g.unsqueeze(-1).flatten(1).square().sum(1) for g in gradients.values()]).sum(0).sqrt()  # (B,)
    if not norms.isfinite().all():
        raise InputError("finite gradients", got=f"{int((~norms.isfinite()).sum())} of {len(norms)} are not")
    factors = clip / norms.clamp(min=clip)
    return {name: torch.einsum("b,b...->...", factors, g) for name, g in gradients.items()}


@torch.no_grad()
def dp_step(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss: Loss,
    clip: float,
    noise: float,
    lot: float,
    learning_rate: float,
    generator: torch.Generator | None = None,
) -> None:
    r"""Change the parameters by $-\eta / L \, (\sum_b \mathrm{clip}(g_b) + \mathcal N(0, \sigma^2 C^2))$, in place.

    $\eta$ = `learning_rate`, $C$ = `clip`, $\sigma$ = `noise`, and $L$ = `lot` is the batch size that Poisson sampling
    has *on average*: the true one is itself private, so it must not show. An empty batch still adds noise.
    """
    if noise < 0 or lot <= 0 or not all(map(isfinite, (noise, lot, learning_rate))):
        got = f"noise={noise!r}, lot={lot!r}, learning_rate={learning_rate!r}"
        raise InputError("noise >= 0, lot > 0 and a finite learning rate", got=got)
    total = clipped_sum(per_example_gradients(model, loss, inputs, targets), clip)
    for name, parameter in model.named_parameters():
        if name in total:
            drawn = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype).to(parameter.device)
            parameter -= learning_rate / lot * (total[name] + noise * clip * drawn)
