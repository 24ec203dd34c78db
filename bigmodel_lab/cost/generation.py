"""What it costs to write one more token: bytes that must be read, operations that must be done, whichever takes longer.

Sources: Williams et al. (2009), doi 10.1145/1498765.1498785 (roofline); Pope et al. (2022), arXiv 2211.05102 (decoding
of Transformers). Every weight in use and the whole cache are read once for each token of all texts together.
"""

from dataclasses import dataclass

from bigmodel_lab.cost.counting import forward_operations, parameters
from bigmodel_lab.cost.machines import Gpu
from bigmodel_lab.cost.memory import kv_cache
from bigmodel_lab.cost.shapes import TransformerShape
from bigmodel_lab.errors import InputError

__all__ = ["DecodingStep", "decoding_step"]


@dataclass(frozen=True, kw_only=True)
class DecodingStep:
    """One step of writing: a token more for each of `texts` texts."""

    texts: int
    weight_bytes: float  # read once, however many texts
    cache_bytes: float  # keys and values of all texts
    operations: float
    reading: float  # seconds that the memory takes at its bandwidth
    computing: float  # seconds that the products take at the peak

    @property
    def seconds(self) -> float:
        """The longer of both: a lower bound of the time of a step."""
        return max(self.reading, self.computing)

    @property
    def tokens_per_second(self) -> float:
        """Tokens of all texts together, at the most."""
        return self.texts / self.seconds

    def price_per_million(self, price: float, gpus: float = 1) -> float:
        """Return the money for a million tokens, where a GPU costs `price` an hour and is never idle; a lower bound."""
        return 1e6 / self.tokens_per_second / 3600 * price * gpus


def decoding_step(
    shape: TransformerShape, machine: Gpu, *, context: int, texts: int = 1, gpus: int = 1, number: int = 2
) -> DecodingStep:
    """Return the cost of one token more for `texts` texts that are `context` tokens long, `number` bytes per number.

    The work is divided among `gpus` without loss. A mixture of E experts, k per token, reads E (1 − (1 − k/E)^texts)
    of them on average, if texts choose independently.
    """
    if min(context, texts, gpus, number) < 1:
        got = f"context={context}, texts={texts}, gpus={gpus}, number={number}"
        raise InputError("context, texts, gpus and number of at least 1", got=got)
    size = parameters(shape)
    experts = size.feed_forward + size.idle_experts
    used = experts * (1 - (1 - shape.active_experts / shape.experts) ** texts)
    # of the tables only the rows of these tokens are read, unless the table scores the tokens as well
    tables = size.embedding if shape.head == "tied" else texts * shape.width
    weights = number * (size.total - experts - size.embedding + tables + used)
    cache = kv_cache(shape, tokens=context, texts=texts, number=number)
    operations = forward_operations(shape, tokens=1, texts=texts, cached=context).total
    return DecodingStep(
        texts=texts,
        weight_bytes=weights,
        cache_bytes=cache,
        operations=operations,
        reading=(weights + cache) / (machine.bandwidth * gpus),
        computing=operations / (machine.peak * gpus),
    )
