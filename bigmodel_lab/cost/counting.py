"""Parameters and operations of a Transformer, from its sizes alone.

Convention: a multiplication and the addition after it are two operations (FLOPs). Only products of matrices are
counted; biases, normalisations, softmax, rotary positions and functions of one number are below a percent in large
models. Sources: Kaplan et al. (2020), arXiv 2001.08361 (6 N D); Chowdhery et al. (2022), arXiv 2204.02311, appendix B
(with the attention term). Dimension letters: B texts, T tokens, C width, L blocks, N parameters, D tokens of training.
"""

from dataclasses import dataclass

from bigmodel_lab.cost.parts import Parts
from bigmodel_lab.cost.shapes import TransformerShape
from bigmodel_lab.errors import InputError

__all__ = ["Operations", "Parameters", "forward_operations", "parameters", "six_n_d", "training_operations"]


@dataclass(frozen=True, kw_only=True)
class Parameters(Parts):
    """How many numbers a Transformer learns, part by part."""

    embedding: int  # tables of tokens, positions, segments; a tied head is this table again and counts once
    attention: int
    feed_forward: int  # of the experts that one token goes through
    idle_experts: int  # of the others
    router: int  # chooses the experts
    norms: int
    head: int  # an untied head, a pooler

    @property
    def active(self) -> int:
        """Parameters that take part for one token: all but the idle experts."""
        return self.total - self.idle_experts


@dataclass(frozen=True, kw_only=True)
class Operations(Parts):
    """Multiplications and additions, part by part."""

    projections: float  # into queries, keys and values, and out of attention
    scores: float  # queries with keys, shares with values: the part that grows with the square of T
    feed_forward: float
    router: float
    head: float
    recomputation: float = 0.0  # a second forward pass, with checkpointing


def parameters(shape: TransformerShape) -> Parameters:
    """Return the parameters of a Transformer, exact for what `TransformerShape.from_config` knows."""
    width, layers = shape.width, shape.layers
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    attention = _attention_weights(shape) + shape.biases * (queries + 2 * keys + width)
    expert = _expert_weights(shape) + shape.biases * ((1 + shape.gated) * shape.hidden + width)
    norm = width * (2 if shape.norm == "layer" else 1)
    return Parameters(
        embedding=(shape.vocabulary + shape.positions + shape.segments) * width,
        attention=layers * attention,
        feed_forward=layers * shape.active_experts * expert,
        idle_experts=layers * (shape.experts - shape.active_experts) * expert,
        router=layers * width * shape.experts * (shape.experts > 1),
        norms=(2 * layers + 1) * norm + layers * 2 * shape.head_width * shape.query_norms,
        head=shape.vocabulary * width * (shape.head == "own") + (width**2 + width) * shape.pooler,
    )


def forward_operations(
    shape: TransformerShape, *, tokens: int, texts: int = 1, causal: bool = False, cached: int = 0
) -> Operations:
    """Return the operations of a forward pass over `texts` of `tokens` tokens each.

    Every token attends to all `tokens`, as programs without a special kernel compute it, also where a mask hides half;
    with `causal` only the tokens up to itself count. `cached` tokens before them are attended to and not computed.
    """
    _at_least_one(tokens=tokens, texts=texts)
    seen = texts * tokens
    pairs = texts * (tokens * (tokens + 1) / 2 if causal else tokens**2) + seen * cached
    scored = shape.vocabulary * shape.width * seen * (shape.head != "none")
    return Operations(
        projections=2.0 * shape.layers * _attention_weights(shape) * seen,
        scores=4.0 * shape.layers * shape.heads * shape.head_width * pairs,
        feed_forward=2.0 * shape.layers * shape.active_experts * _expert_weights(shape) * seen,
        router=2.0 * shape.layers * shape.width * shape.experts * seen * (shape.experts > 1),
        head=2.0 * (scored + shape.width**2 * texts * shape.pooler),
    )


def training_operations(
    shape: TransformerShape, *, tokens: int, texts: int = 1, causal: bool = False, checkpointing: bool = False
) -> Operations:
    """Return the operations of forward and backward for `texts` of `tokens` tokens; the optimiser's are left out.

    The backward pass has two products for each of the forward pass: three times the forward pass in all. With
    `checkpointing` the blocks run forward once more (their activations were not kept).
    """
    once = forward_operations(shape, tokens=tokens, texts=texts, causal=causal)
    thrice = {name: 3.0 * amount for name, amount in once.parts().items()}
    return Operations(**thrice | {"recomputation": (once.total - once.head) * checkpointing})


def six_n_d(parameters: float, tokens: float) -> float:
    """Return 6 N D, the usual estimate of the operations of a training (Kaplan et al. 2020).

    N `parameters` (of a mixture of experts the active ones), D `tokens`. It leaves out the scores of attention.
    """
    if not (parameters > 0 and tokens > 0):
        raise InputError("parameters and tokens above 0", got=f"{parameters}, {tokens}")
    return 6.0 * parameters * tokens


def _attention_weights(shape: TransformerShape) -> int:
    """Weights of the four matrices of one block's attention."""
    return 2 * shape.width * shape.head_width * (shape.heads + shape.kv_heads)


def _expert_weights(shape: TransformerShape) -> int:
    """Weights of one feed-forward part."""
    return (3 if shape.gated else 2) * shape.width * shape.hidden


def _at_least_one(**counts: float) -> None:
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"{name} of at least 1", got=str(count))
