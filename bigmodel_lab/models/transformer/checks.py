"""Checks of what a Transformer is given.

To look at values makes a GPU wait, so ids are looked at on the CPU only; on a GPU an id out of range ends in CUDA's own
assertion. Each check is one node for torch.fx (call it by `checks.name`, so that fx sees it), and returns its input.
"""

import torch
from torch import Tensor

from bigmodel_lab.errors import InputError


@torch.fx.wrap
def token_ids(ids: Tensor, vocabulary: int, context: int, what: str = "the context") -> Tensor:
    """Return ids (B, T) if they are integers from 0 to vocabulary - 1 and 1 <= T <= context."""
    if not isinstance(ids, Tensor) or ids.ndim != 2 or ids.dtype not in (torch.int64, torch.int32):
        got = f"{ids.dtype} of shape {tuple(ids.shape)}" if isinstance(ids, Tensor) else type(ids).__name__
        hint = "ids.unsqueeze(0) for one text; ids.long() for other integers; torch.tensor(ids) for a list"
        raise InputError("token ids, integers (int64 or int32) of shape (B, T)", got=got, hint=hint)
    if ids.shape[1] == 0:
        raise InputError("at least one token in each text", got="empty texts", hint="a start token such as [CLS]")
    if ids.shape[1] > context:
        raise InputError(
            f"at most {context} tokens, {what}",
            got=f"{ids.shape[1]} tokens",
            hint=f"cut the text, ids[:, :{context}], or build the model with a longer context",
        )
    if ids.device.type == "cpu" and ids.numel() and not torch.compiler.is_compiling():
        low, high = (int(bound) for bound in ids.aminmax())
        if low < 0 or high >= vocabulary:
            raise InputError(
                f"token ids from 0 to {vocabulary - 1}, the vocabulary",
                got=f"ids from {low} to {high}",
                hint="the tokeniser that belongs to this model, or TransformerConfig(vocabulary=len(tokenizer))",
            )
    return ids


@torch.fx.wrap
def not_all_padding(ids: Tensor, padding: int | None) -> Tensor:
    """Return ids (B, T) if each row has a token that is not padding."""
    if padding is not None and ids.device.type == "cpu" and not torch.compiler.is_compiling():
        empty = (ids == padding).all(1)
        if empty.any():
            row = int(empty.nonzero()[0, 0])
            raise InputError(
                "at least one token that is not padding in each text",
                got=f"nothing but padding (id {padding}) in row {row}",
                hint="leave empty texts out, or start each text with a token such as [CLS]",
            )
    return ids


@torch.fx.wrap
def images(x: Tensor, channels: int, size: int) -> Tensor:
    """Return images (B, channels, size, size) if that is their shape."""
    if x.ndim != 4 or tuple(x.shape[1:]) != (channels, size, size):
        raise InputError(
            f"images of shape (B, {channels}, {size}, {size})",
            got=f"shape {tuple(x.shape)}",
            hint="x.unsqueeze(0) for one image",
        )
    return x
