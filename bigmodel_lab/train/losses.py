"""Losses that PyTorch has no function for."""

import torch
import torch.nn.functional as F
from torch import Tensor

from bigmodel_lab.errors import InputError


def token_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy in nats, the mean over all tokens (B, T) whose target is not -100.

    `outputs` are logits (B, T, V) as language models give them, `targets` (B, T) int64. Its exponential is the
    perplexity. A batch without any target has the loss 0. Batches count by their examples, not by their tokens: where
    numbers of targets differ between batches, the mean over batches differs a little from the mean over tokens.
    """
    if outputs.ndim != 3 or outputs.shape[:2] != targets.shape:
        raise InputError(
            "logits (B, T, V) and targets (B, T)",
            got=f"outputs {tuple(outputs.shape)}, targets {tuple(targets.shape)}",
            hint="F.cross_entropy takes (B, V) and (B,)",
        )
    if targets.dtype != torch.int64:
        raise InputError("targets int64, a token or -100 each", got=f"{targets.dtype}", hint="targets.long()")
    outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))  # a sum in half precision overflows
    total = F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="sum")
    return total / (targets != -100).sum().clamp_min(1)
