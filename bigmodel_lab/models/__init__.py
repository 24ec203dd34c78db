"""The course's models: ordinary `nn.Module`s, each beside a frozen config."""

from importlib import import_module

__all__ = [
    "acoustic",
    "attention",
    "cnn",
    "configs",
    "contrastive",
    "ctc",
    "detector",
    "hub",
    "hugging_face",
    "mlp",
    "pretrained",
    "rnn",
    "sampling",
    "seq2seq",
    "speech_translation",
    "tagger",
    "transformer",
    "twins",
    "unet",
    "video",
]


def __getattr__(name: str):
    """Import the submodule called `name` on first use."""
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
