"""The sizes that decide what a Transformer costs: dense, or with a mixture of experts.

Sources: Vaswani et al. (2017), arXiv 1706.03762; Shazeer (2019), arXiv 1911.02150 (shared keys and values);
Ainslie et al. (2023), arXiv 2305.13245 (grouped queries); Shazeer (2020), arXiv 2002.05202 (gated feed-forward);
Shazeer et al. (2017), arXiv 1701.06538 (experts).
"""

from dataclasses import dataclass
from typing import Any

from bigmodel_lab.errors import InputError

__all__ = ["TransformerShape"]


@dataclass(frozen=True, kw_only=True)
class TransformerShape:
    """Sizes of a Transformer of equal blocks, each attention and then a feed-forward part; no weights, no torch.

    What is left out follows from the width: `hidden` is 4 times the width, `kv_heads` is `heads`, `head_width` is
    the width divided by `heads`. Encoder–decoders and latent attention (DeepSeek-V3) do not fit.
    """

    layers: int  # blocks
    width: int  # numbers per token between the blocks
    heads: int  # of queries
    vocabulary: int  # rows of the table of tokens
    kv_heads: int | None = None  # heads of keys and values: fewer than `heads` with grouped queries
    head_width: int | None = None  # numbers per token in a head
    hidden: int | None = None  # numbers per token inside a feed-forward part, or inside one expert
    positions: int = 0  # rows of a learned table of positions; 0 where positions have no parameters
    segments: int = 0  # rows of a table of segments (BERT's token types)
    gated: bool = False  # three matrices in the feed-forward part (SwiGLU) instead of two
    biases: bool = False
    norm: str = "rms"  # "rms" has a weight per number, "layer" a weight and a bias
    query_norms: bool = False  # queries and keys are normalised in each head (Qwen3)
    head: str = "tied"  # scores of tokens: by the table of tokens ("tied"), by a matrix of its own ("own"), "none"
    pooler: bool = False  # one more square matrix with bias, on one token per text (BERT)
    experts: int = 1  # feed-forward parts per block
    active_experts: int = 1  # how many of them one token goes through

    def __post_init__(self) -> None:
        """Fill in what follows from the width, and refuse sizes that make no network."""
        derived = {
            "kv_heads": self.heads,
            "head_width": self.width // max(self.heads, 1),
            "hidden": 4 * self.width,
        }
        for name, value in derived.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        sizes = ("layers", "width", "heads", "vocabulary", "kv_heads", "head_width", "hidden", "experts")
        small = [name for name in sizes if getattr(self, name) < 1]
        if small or min(self.positions, self.segments) < 0:
            raise InputError("sizes of at least 1", got=repr(self), hint=", ".join(small))
        if self.heads % self.kv_heads:
            raise InputError(f"kv_heads that divide heads={self.heads}", got=f"kv_heads={self.kv_heads}")
        if not 1 <= self.active_experts <= self.experts:
            raise InputError(f"active_experts from 1 to experts={self.experts}", got=str(self.active_experts))
        if self.norm not in ("rms", "layer") or self.head not in ("tied", "own", "none"):
            raise InputError('norm "rms" or "layer", head "tied", "own" or "none"', got=f"{self.norm!r}, {self.head!r}")

    @classmethod
    def from_config(cls, config: Any) -> "TransformerShape":
        """Return the shape of a configuration of the transformers library; nothing of that library is imported here.

        Knows the model types gpt2, bert, llama, mistral, mixtral and qwen3_moe, each with its language-model head,
        but for bert, which is the bare encoder with its pooler (`BertModel`). Refuses what would change the count:
        biases where these types have none, blocks of two kinds, attention to a second text.
        """
        reader = READERS.get(getattr(config, "model_type", None))
        if reader is None:
            raise InputError(
                f"a configuration of one of {', '.join(READERS)}",
                got=repr(getattr(config, "model_type", type(config).__name__)),
                hint="TransformerShape(layers=…, width=…, heads=…, vocabulary=…)",
            )
        extra = [name for name in UNUSUAL if getattr(config, name, None)]
        if getattr(config, "decoder_sparse_step", 1) != 1:
            extra.append("decoder_sparse_step")
        if extra:
            raise InputError(f"a plain {config.model_type}", got=", ".join(f"{n}={getattr(config, n)}" for n in extra))
        return cls(**reader(config))


def _common(config: Any) -> dict[str, Any]:
    return {
        "layers": config.num_hidden_layers,
        "width": config.hidden_size,
        "heads": config.num_attention_heads,
        "vocabulary": config.vocab_size,
    }


def _gpt2(config: Any) -> dict[str, Any]:
    form = {"positions": config.n_positions, "biases": True, "norm": "layer", "head": _head(config)}
    return _common(config) | form | {"hidden": config.n_inner}


def _bert(config: Any) -> dict[str, Any]:
    form = {"positions": config.max_position_embeddings, "segments": config.type_vocab_size, "norm": "layer"}
    return _common(config) | form | {"hidden": config.intermediate_size, "biases": True, "head": "none", "pooler": True}


def _llama(config: Any) -> dict[str, Any]:
    return _common(config) | {
        "kv_heads": config.num_key_value_heads,
        "head_width": getattr(config, "head_dim", None),
        "hidden": config.intermediate_size,
        "gated": True,
        "head": _head(config),
    }


def _mixtral(config: Any) -> dict[str, Any]:
    return _llama(config) | {"experts": config.num_local_experts, "active_experts": config.num_experts_per_tok}


def _qwen3_moe(config: Any) -> dict[str, Any]:
    experts = getattr(config, "num_experts", None) or config.num_local_experts
    form = {"hidden": config.moe_intermediate_size, "query_norms": True}
    return _llama(config) | form | {"experts": experts, "active_experts": config.num_experts_per_tok}


def _head(config: Any) -> str:
    return "tied" if config.tie_word_embeddings else "own"


UNUSUAL = ("attention_bias", "mlp_bias", "mlp_only_layers", "add_cross_attention")
READERS = {
    "gpt2": _gpt2,
    "bert": _bert,
    "llama": _llama,
    "mistral": _llama,
    "mixtral": _mixtral,
    "qwen3_moe": _qwen3_moe,
}
