"""Leaves a model as it was: explanation methods hang hooks, rules and flags onto it, and some fail half-way."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["unchanged"]


@contextmanager
def unchanged(model: object) -> Iterator[None]:
    """Leave `model` as it is now when the block ends, in whatever way: hooks, rules, modes, gradients and their flags.

    Every attribute of every module is put back, so what a library hangs onto modules goes too. Weights are not copied:
    nothing here may change them. Functions that are not modules pass through.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    kept = [(module, {name: (value, _copy(value)) for name, value in vars(module).items()}) for module in modules]
    parameters = [p for module in modules for p in module._parameters.values() if p is not None]
    flags = [(p, p.requires_grad, p.grad, None if p.grad is None else p.grad.clone()) for p in parameters]
    try:
        yield
    finally:
        for module, attributes in kept:
            for name in vars(module).keys() - attributes.keys():
                del module.__dict__[name]
            for name, (value, copy) in attributes.items():
                if copy is not None:
                    value.clear()  # in place: handles that libraries keep point to this very dictionary
                    value.update(copy)
                module.__dict__[name] = value
        for parameter, flag, gradient, copy in flags:
            if parameter.requires_grad != flag:
                parameter.requires_grad_(flag)
            if gradient is not None:
                gradient.copy_(copy)
            parameter.grad = gradient


def _copy(value: object) -> dict | None:
    return type(value)(value) if type(value).__name__ in ("dict", "OrderedDict") else None
