"""Data sets: embedded by default, the public ones one argument away."""

from importlib import import_module

__all__ = [
    "captions",
    "history",
    "imagenet",
    "images",
    "instructions",
    "personal",
    "public",
    "public_images",
    "public_scenes",
    "public_video",
    "scenes",
    "sequences",
    "speech",
    "text",
    "video",
]


def __getattr__(name: str):
    """Import the submodule called `name` on first use."""
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
