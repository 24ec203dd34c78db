"""The sizes of a Transformer, and the dials that switch its parts off."""

from dataclasses import dataclass

from bigmodel_lab.errors import InputError

KNOWN = {
    "activation": ("gelu", "gelu_tanh", "relu"),
    "positions": ("learned", "sinusoidal", "none"),
    "norm": ("pre", "post", "none"),
}


@dataclass(frozen=True, kw_only=True)
class BlockConfig:
    """What every block of a model has in common."""

    width: int = 64  # C, features per token
    heads: int = 4  # H, attentions side by side, on C / H features each
    depth: int = 2  # blocks
    factor: int = 4  # inner width of the feed-forward layers, in multiples of C
    activation: str = "gelu"  # of the feed-forward layers: "gelu", "gelu_tanh" (as GPT-2, slower on a CPU) or "relu"
    dropout: float = 0.0  # share of features zeroed in training: embeddings, attention weights, what blocks add
    positions: str = "learned"  # what tells places apart: "learned", "sinusoidal" or "none"
    norm: str = "pre"  # LayerNorm before each part ("pre"), after each sum ("post"), or "none"
    residual: bool = True  # each part adds to its input; False: it replaces it
    feed_forward: bool = True  # False: blocks of attention alone

    def __post_init__(self) -> None:
        """Refuse sizes that make no network, and words that name no part."""
        if min(self.width, self.heads, self.depth, self.factor) < 1 or self.width % self.heads:
            raise InputError("width, heads, depth and factor >= 1, width a multiple of heads", got=repr(self))
        if not 0 <= self.dropout < 1:
            raise InputError("a dropout in [0, 1)", got=repr(self.dropout))
        for name, known in KNOWN.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name} among {', '.join(known)}", got=repr(getattr(self, name)))


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(BlockConfig):
    """Sizes of a Transformer for token ids."""

    vocabulary: int  # V, token ids are 0 to V - 1
    context: int = 128  # most tokens in a text; of an EncoderDecoder, in a target
    padding: int | None = 0  # id of the token that fills up short texts; None: there is none
    outputs: int = 2  # K, classes of a TextClassifier
    tied: bool = True  # the output layer of a language model uses the embedding matrix
    source_length: int = 0  # S, tokens of each source of an EncoderDecoder, padding included

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        super().__post_init__()
        if min(self.vocabulary, self.context, self.outputs) < 1 or self.source_length < 0:
            raise InputError("vocabulary, context and outputs >= 1 and source_length >= 0", got=repr(self))
        if self.padding is not None and not 0 <= self.padding < self.vocabulary:
            raise InputError(f"a padding id from 0 to {self.vocabulary - 1}, or None", got=repr(self.padding))


@dataclass(frozen=True, kw_only=True)
class ViTConfig(BlockConfig):
    """Sizes of a Vision Transformer."""

    channels: int = 3  # C of the input images
    size: int = 32  # height and width of the images, in pixels
    patch: int = 4  # height and width of a patch, in pixels
    outputs: int = 10  # K, classes or regression targets

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        super().__post_init__()
        if min(self.channels, self.size, self.patch, self.outputs) < 1 or self.size % self.patch:
            raise InputError("channels, size, patch and outputs >= 1, size a multiple of patch", got=repr(self))

    @property
    def patches(self) -> int:
        """T, patches in an image."""
        return (self.size // self.patch) ** 2
