"""Public models for the same tasks as the course's small ones: one function a task, on `transformers`."""

from importlib import import_module

__all__ = [
    "catalogue",
    "contrastive",
    "detection",
    "generation",
    "named_entities",
    "recognition",
    "segmentation",
    "sentiment",
    "speech_commands",
    "speech_recognition",
    "speech_synthesis",
    "summarisation",
    "translation",
    "video",
]


def __getattr__(name: str):
    """Import the submodule called `name` on first use; `hub.about`, `load`, `part` and `MODELS` are the catalogue's."""
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    if name in ("MODELS", "PublicModel", "about", "load", "part"):
        return getattr(import_module(f"{__name__}.catalogue"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
