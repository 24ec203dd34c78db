"""What an explanation method refuses, and what to try instead. Dimension letters: B examples, K scores, T tokens."""

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError

__all__ = ["check_inputs", "check_model", "check_output", "full_baseline", "places"]


def check_inputs(method: str, inputs: Tensor, embedding: nn.Module | None, *, discrete: bool) -> None:
    """Refuse inputs that are no batch, not finite, or integers that `method` cannot differentiate."""
    if not isinstance(inputs, Tensor) or inputs.ndim < 2 or not inputs.numel():
        got = f"shape {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else type(inputs).__name__
        raise InputError("inputs as a tensor (B, ...) of at least one example", got=got, hint="x.unsqueeze(0) for one")
    whole = not inputs.is_floating_point()
    if whole and embedding is None and not discrete:
        raise InputError(
            f"for integers, the module that embeds them: {method} differentiates, and integers have no gradient",
            got=f"{inputs.dtype} and no embedding",
            hint="embedding=model.get_input_embeddings() for Hugging Face's models, embedding=model.embedding for the "
            "course's recurrent ones; or inputs.float() where they are pixels",
        )
    if embedding is not None and (not whole or not isinstance(embedding, nn.Module)):
        got = f"{inputs.dtype} and a {type(embedding).__name__}"
        raise InputError("integers (token ids) with an embedding module", got=got, hint="leave embedding out")
    if not whole and not inputs.isfinite().all():
        bad = int((~inputs.isfinite()).flatten(1).any(1).sum())
        raise InputError("finite inputs", got=f"NaN or infinity in {bad} of {len(inputs)} examples")


def check_model(forward: Callable, inputs: Tensor, embedding: nn.Module | None) -> None:
    """Refuse a model in training mode, on another device, or without this embedding."""
    if not callable(forward):
        raise InputError("forward as a module or a function: inputs -> scores", got=type(forward).__name__)
    if not isinstance(forward, nn.Module):
        return
    training = [name or "the model" for name, module in forward.named_modules() if module.training]
    if training:
        got = f"training mode in {len(training)} modules, such as {training[0]}"
        raise InputError("a model in evaluation mode (no dropout, fixed statistics)", got=got, hint="model.eval()")
    place = next((p.device for p in forward.parameters()), inputs.device)
    if place != inputs.device:
        raise InputError(
            "model and inputs on one device", got=f"{place} and {inputs.device}", hint=f'inputs.to("{place}")'
        )
    if embedding is not None and all(embedding is not module for module in forward.modules()):
        raise InputError("an embedding that is a module of the model", got="one that is not")


def full_baseline(inputs: Tensor, baseline: Tensor | float | None, *, needed: bool) -> Tensor | None:
    """Return the baseline in the shape of the inputs; None for token ids without one."""
    whole = not inputs.is_floating_point()
    if baseline is None:
        if whole and needed:
            raise InputError(
                "a baseline for token ids: the id that stands for a token that is not there",
                got="none",
                hint="baseline=tokenizer.mask_token_id, or the padding's id",
            )
        return None if whole else torch.zeros_like(inputs)
    base = torch.as_tensor(baseline, device=inputs.device)
    if whole and (base.is_floating_point() or base.is_complex()):
        raise InputError("a baseline of token ids, integers as the inputs are", got=f"{base.dtype}")
    if not whole and not base.is_floating_point():
        base = base.to(inputs.dtype)
    fits = base.ndim in (0, inputs.ndim - 1, inputs.ndim) and all(
        have in (1, want) for have, want in zip(base.shape[::-1], inputs.shape[::-1], strict=False)
    )
    if not fits:
        raise InputError(
            f"a baseline that is one number, of shape {tuple(inputs.shape[1:])}, or {tuple(inputs.shape)}",
            got=f"shape {tuple(base.shape)}",
            hint="one example can serve for all: shape (1, ...)",
        )
    if not whole and not base.isfinite().all():
        raise InputError("a finite baseline", got="NaN or infinity in it")
    return base.to(inputs.dtype).expand(inputs.shape)


def check_output(output: Tensor, count: int) -> Tensor:
    """Return what a model put out for `count` examples; refuse what holds no scores of each."""
    if not isinstance(output, Tensor) or output.ndim < 1 or len(output) != count:
        got = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        hint = "wrap the model so that it returns the scores alone; models.hugging_face.Logits does for Hugging Face's"
        raise InputError(
            f"a forward that returns scores as a tensor, here ({count}, K) or ({count},)", got=got, hint=hint
        )
    return output


def places(output: Tensor, target: int | tuple[int, ...] | Tensor | None) -> Tensor | None:
    """Return the place of each example's score in `output` (B, K, ...) as (B, n); None where there is but one."""
    sizes, count = tuple(output.shape[1:]), len(output)
    if target is None:
        if prod(sizes) == 1:
            return None
        raise InputError(
            f"a target: which of the model's {' × '.join(map(str, sizes))} scores to explain",
            got="none",
            hint="target=3, target=labels, or target=model(inputs).argmax(1) for the predicted class",
        )
    place = torch.as_tensor(target, device=output.device)
    place = place.expand(count, -1) if isinstance(target, tuple) else place.reshape(-1, 1) if place.ndim < 2 else place
    place = place.expand(count, -1) if len(place) == 1 else place
    whole = not (place.is_floating_point() or place.is_complex() or place.dtype == torch.bool)
    if not whole or place.shape != (count, len(sizes)):
        raise InputError(
            f"a target that is one integer, {len(sizes)} of them, or integers of shape ({count},)"
            if len(sizes) == 1
            else f"a target of {len(sizes)} integers, one per dimension of the scores {sizes}: (position, token)",
            got=f"{place.dtype} of shape {tuple(torch.as_tensor(target).shape)}",
        )
    limits = torch.tensor(sizes, device=place.device)
    if not ((place >= 0) & (place < limits)).all():
        raise InputError(
            f"targets from 0 to {' × '.join(str(size - 1) for size in sizes)}",
            got=f"values from {int(place.min())} to {int(place.max())}",
        )
    return place.long().clone()  # a tensor of our own, also where the given one came from inference mode
