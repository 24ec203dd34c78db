"""All explanation methods of the library, found in its files, with what each needs beyond the common arguments."""

import importlib
import inspect
import pkgutil

import torch
from torch import nn

import bigmodel_lab.explain.methods as methods
from bigmodel_lab.data.text import characters

COMMON = ("forward", "inputs", "target", "baseline")
TOKENIZER = characters(["abcdef"])


def found():
    """Name -> function: public functions of `methods/` and `shapley.py` that take (forward, inputs, target, …)."""
    files = [f"{methods.__name__}.{one.name}" for one in pkgutil.iter_modules(methods.__path__)]
    functions = {}
    for file in [*files, "bigmodel_lab.explain.shapley"]:
        module = importlib.import_module(file)
        for name in getattr(module, "__all__", ()):
            one = getattr(module, name)
            if inspect.isfunction(one) and tuple(inspect.signature(one).parameters)[:3] == COMMON[:3]:
                functions[name] = one
    return dict(sorted(functions.items()))


METHODS = found()
CONTRACT = [name for name, one in METHODS.items() if tuple(inspect.signature(one).parameters)[:4] == COMMON]
CONTRACT.remove("llm_attribution")  # its inputs are a text
DISCRETE = ("ablation", "exact_shapley", "kernel_shap", "lime", "occlusion", "shap_partition", "shapley_sampling")


class Image(nn.Module):
    """Images (B, 1, 8, 8) -> (B, 3), by layers that every method takes; `call` is told of each forward."""

    def __init__(self, call=lambda x: x):
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
        self.down, self.last_relu = nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.ReLU()
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 3)
        self.call = call

    def forward(self, x):
        x = self.relu(self.norm(self.conv(self.call(x))))
        return self.head(self.pool(self.last_relu(self.down(x))).flatten(1))


class Language(nn.Module):
    """Token ids (B, T) -> (B, T, V)."""

    def __init__(self, call=lambda x: x):
        super().__init__()
        self.embed, self.relu, self.head = nn.Embedding(len(TOKENIZER), 6), nn.ReLU(), nn.Linear(6, len(TOKENIZER))
        self.call = call

    def forward(self, ids):
        return self.head(self.relu(self.call(self.embed(ids)).cumsum(1)))


def sample(name, call=lambda x: x):
    """Return a model in evaluation mode that `name` can explain, two inputs and a target for them."""
    torch.manual_seed(0)
    if name == "llm_attribution":
        ids = TOKENIZER("abcab", add_special_tokens=False, return_tensors="pt")["input_ids"]
        return Language(call).eval(), ids, torch.tensor([[5, 6]])
    return Image(call).eval(), torch.randn(2, 1, 8, 8), torch.tensor([0, 2])


def arguments(name, model):
    """What `name` asks for beyond model, inputs and target, and small sizes for what it lets one choose."""
    asked = inspect.signature(METHODS[name]).parameters
    generator = torch.Generator().manual_seed(1)

    def images(count):
        return torch.randn(count, 1, 8, 8, generator=generator)

    have = {
        "background": lambda: images(2),
        "budget": lambda: 34,
        "checkpoints": lambda: None,
        "concept": lambda: images(12) + 1,
        "layer": lambda: getattr(model, "down", None),
        "maps": lambda: lambda x: [torch.full((len(x), 2, 16, 16), 1 / 16)],
        "neuron": lambda: (1, 2, 2),
        "new_tokens": lambda: 2,
        "permutations": lambda: 2,
        "random": lambda: images(30),
        "repeats": lambda: 2,
        "samples": lambda: 4,
        "steps": lambda: 8,
        "tokenizer": lambda: TOKENIZER,
        "training": lambda: (images(3), torch.tensor([0, 1, 2])),
    }
    given = {key: make() for key, make in have.items() if key in asked}
    if name == "attention_map":
        del given["layer"]  # there the number of one
    if name == "exact_shapley":
        given["groups"] = torch.arange(64).view(8, 8) // 16  # four players
    if name == "llm_attribution":
        given["baseline"] = TOKENIZER.unk_token_id
    lacking = [key for key, one in asked.items() if one.default is one.empty and key not in (*COMMON, *given)]
    assert not lacking, f"tell tests/explain/methods_found.py what {lacking} of {name} may be"
    return given
