"""Bytes that a Transformer takes: weights, gradients, optimiser, activations, and the cache of keys and values.

Sources: Rajbhandari et al. (2020), arXiv 1910.02054 (16 bytes per parameter, sharding in three stages);
Korthikanti et al. (2022), arXiv 2205.05198 (activations, with and without recomputation).
Dimension letters: B texts, T tokens, C width, H heads, F hidden, V vocabulary, L blocks.
"""

from dataclasses import dataclass

from bigmodel_lab.cost.parts import Parts
from bigmodel_lab.cost.shapes import TransformerShape
from bigmodel_lab.errors import InputError

__all__ = ["Activations", "States", "activations", "kv_cache", "states"]

# bytes per parameter: weights, gradients, and a 32-bit copy of the weights for the optimiser
PRECISIONS = {"float32": (4, 4, 0), "mixed": (2, 2, 4)}
OPTIMISERS = {"adamw": 8, "momentum": 4, "sgd": 0}  # bytes per parameter of running means, kept in 32 bits
CHECKPOINTING = ("none", "selective", "full")


@dataclass(frozen=True, kw_only=True)
class States(Parts):
    """Bytes on one GPU that training keeps for the parameters themselves."""

    weights: float
    gradients: float
    master: float  # the 32-bit copy that the optimiser changes
    moments: float  # the optimiser's running means


@dataclass(frozen=True, kw_only=True)
class Activations(Parts):
    """Bytes of activations that the backward pass needs, over all blocks; `workspace` is a passing peak."""

    inputs: float  # what enters each block, where the rest is computed again
    attention: float
    scores: float  # the shares of attention: the part that grows with the square of T
    feed_forward: float
    norms: float
    head: float  # the last normalisation, its output, and the scores of the tokens in 32 bits
    workspace: float  # what is computed again, for one block at a time


def states(
    parameters: float, *, precision: str = "mixed", optimiser: str = "adamw", stage: int = 0, gpus: int = 1
) -> States:
    """Return the bytes for weights, gradients and optimiser on each of `gpus`.

    "mixed" is 16-bit arithmetic with a 32-bit copy: 2 + 2 + 4 + 8 = 16 bytes per parameter with AdamW; "float32" takes
    4 + 4 + 8 = 16 as well. The `stage` of ZeRO says what is divided among the GPUs: 0 nothing, 1 the optimiser's part,
    2 the gradients too, 3 the weights too (FSDP's full sharding).
    """
    if precision not in PRECISIONS or optimiser not in OPTIMISERS:
        known = f"precision in {', '.join(PRECISIONS)}; optimiser in {', '.join(OPTIMISERS)}"
        raise InputError(known, got=f"{precision!r}, {optimiser!r}")
    if stage not in range(4) or gpus < 1 or not parameters > 0:
        got = f"stage={stage}, gpus={gpus}, parameters={parameters}"
        raise InputError("a stage from 0 to 3, at least one GPU, parameters above 0", got=got)
    weights, gradients, master = PRECISIONS[precision]
    shared = [parameters / (gpus if stage >= first else 1) for first in (3, 2, 1)]
    return States(
        weights=weights * shared[0],
        gradients=gradients * shared[1],
        master=master * shared[2],
        moments=OPTIMISERS[optimiser] * shared[2],
    )


def activations(
    shape: TransformerShape,
    *,
    tokens: int,
    texts: int = 1,
    number: int = 2,
    checkpointing: str = "none",
    dropout: bool = False,
    fused: bool = False,
) -> Activations:
    """Return the bytes of activations of one forward pass over `texts` of `tokens` tokens, `number` bytes per number.

    For a block with a feed-forward part of 4 C, 2 bytes and dropout it is B T C (34 + 5 H T / C), formula (1) of
    Korthikanti et al.; without dropout a block keeps B T (16 C + H T) numbers, and two in 32 bits for each LayerNorm.
    `checkpointing`: "selective" computes the scores of attention again (34 B T C), "full" keeps the inputs of the
    blocks (2 B T C). `fused` attention never stores the scores. Every expert of a mixture keeps what its tokens need.
    """
    if checkpointing not in CHECKPOINTING:
        raise InputError(f"checkpointing in {', '.join(CHECKPOINTING)}", got=repr(checkpointing))
    if min(tokens, texts, number) < 1:
        raise InputError("tokens, texts and number of at least 1", got=f"{tokens}, {texts}, {number}")
    seen = texts * tokens
    kept = {name: seen * size for name, size in _block(shape, tokens, number, dropout, fused).items()}
    inputs, again = 0, 0
    if checkpointing == "selective":
        again, kept["scores"] = kept["scores"], 0
    elif checkpointing == "full":
        inputs, again = seen * number * shape.width, sum(kept.values())
        kept = dict.fromkeys(kept, 0)
    scored = shape.head != "none"
    head = seen * (2 * number * shape.width + 4 * shape.vocabulary) * scored
    whole = {name: float(shape.layers * size) for name, size in kept.items()}
    return Activations(**whole, inputs=float(shape.layers * inputs), head=float(head), workspace=float(again))


def _block(shape: TransformerShape, tokens: int, number: int, dropout: bool, fused: bool) -> dict[str, int]:
    """Bytes per token that one block keeps; a mask of dropout takes one byte per number."""
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    inside = (4 if shape.gated else 2) * shape.hidden * shape.active_experts  # gated: gate, bend, up, and their product
    routed = shape.width * (shape.active_experts - 1) + shape.experts if shape.experts > 1 else 0
    shares = 0 if fused else shape.heads * tokens
    return {
        "attention": number * (shape.width + 2 * queries + 2 * keys) + dropout * shape.width,
        "scores": shares * (number + dropout * (number + 1)),
        "feed_forward": number * (shape.width + inside + routed) + dropout * shape.width,
        "norms": number * 2 * shape.width,
    }


def kv_cache(shape: TransformerShape, *, tokens: int, texts: int = 1, number: int = 2) -> int:
    """Return the bytes of the keys and values of `texts` of `tokens` tokens, `number` bytes per number.

    2 L T B H' d: two lists in each of L blocks, with H' heads of keys and values of d numbers. Grouped queries make it
    H / H' times smaller than one pair for each of H heads (Ainslie et al. 2023).
    """
    if min(tokens, texts, number) < 1:
        raise InputError("tokens, texts and number of at least 1", got=f"{tokens}, {texts}, {number}")
    return 2 * shape.layers * tokens * texts * shape.kv_heads * shape.head_width * number
