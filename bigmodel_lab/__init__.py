"""Helper library of the Big Model Lab course.

Importing it loads nothing heavy: each part is imported when it is first named, so that
`import bigmodel_lab as lab` takes milliseconds and `lab.train.fit` still works.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bigmodel_lab import check, cost, course, data, errors, explain, models, plot, privacy, runtime, train

__version__ = "0.1.0"

__all__ = ["check", "cost", "course", "data", "errors", "explain", "models", "plot", "privacy", "runtime", "train"]


def __getattr__(name: str):
    """Import the part called `name` on first use (PEP 562)."""
    if name in __all__:
        return import_module(f"bigmodel_lab.{name}")
    raise AttributeError(f"module 'bigmodel_lab' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
