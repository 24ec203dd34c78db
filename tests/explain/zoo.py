"""A zoo of small models, and for each method a measurement, from its own definition, of whether it is right on one."""

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from captum.attr import LRP, DeepLift, DeepLiftShap, GuidedBackprop
from torch import nn
from torch.overrides import TorchFunctionMode

from bigmodel_lab.data.text import characters
from bigmodel_lab.explain.contract import Scores
from bigmodel_lab.models.cnn import CNN, CNNConfig
from bigmodel_lab.models.hugging_face import Logits, small_bert, small_gpt2
from bigmodel_lab.models.mlp import MLP, MLPConfig
from bigmodel_lab.models.rnn import RNNConfig, SequenceClassifier
from bigmodel_lab.models.transformer import TextClassifier, TransformerConfig, ViT, ViTConfig


class Calls(nn.Module):
    """Three linear layers with `bend` between them, called in the model's own forward."""

    def __init__(self, bend, *, bias=True):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 8, bias), nn.Linear(8, 8, bias), nn.Linear(8, 3, bias)
        self.relu, self.bend = nn.ReLU(), bend

    def forward(self, x):
        return self.last(self.relu(self.second(self.bend(self.first(x)))))


class Shared(nn.Module):
    """One ReLU for two calls; `sizes` of what it sees."""

    def __init__(self, *sizes):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip((6, *sizes), (*sizes, 3), strict=True))
        self.relu = nn.ReLU()

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = self.relu(layer(x))
        return self.layers[-1](x)


class Residual(nn.Module):
    """A residual block: `before`, a ReLU that reads what the skip connection reads; `after`, one that reads the sum."""

    def __init__(self, kind):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.relu, self.end, self.kind = nn.ReLU(), nn.ReLU(), kind

    def forward(self, x):
        h = self.first(x)
        if self.kind == "before":
            return self.last(h + self.second(self.relu(h)))
        h = self.relu(h)
        if self.kind == "joined":
            return self.last(torch.cat([h, self.end(self.second(h))], 1)[:, 4:12])
        if self.kind == "in place":
            out = self.second(h)
            out += h
            return self.last(F.relu(out))
        return self.last(self.end(self.second(h) + h))


class Gated(nn.Module):
    """A product of two branches, as in attention and gates."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.last, self.relu = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(8, 3), nn.ReLU()

    def forward(self, x):
        return self.last(self.relu(self.a(x)) * self.b(x).softmax(-1))


def images(*layers, head="functional"):
    """A small CNN with `layers` between two convolutions."""

    class Images(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), *layers, nn.Conv2d(4, 4, 3), nn.ReLU())
            self.pool, self.flat, self.last = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)

        def forward(self, x):
            x = self.body(x)
            if head == "mean":
                return self.last(x.mean((2, 3)))
            return self.last(self.flat(self.pool(x)) if head == "module" else self.pool(x).flatten(1))

    model = Images()
    if head != "module":
        del model.flat
    if head == "mean":
        del model.pool
    return model


def layers(*between):
    return nn.Sequential(nn.Linear(6, 8), *between, nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


class Subclass(nn.ReLU):
    pass


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.exp()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0].exp()


def bert(kind, **options):
    tokenizer = characters(["abcdef"])
    torch.manual_seed(0)
    return Logits(kind(tokenizer, width=16, depth=1, heads=2, context=16, **options))


LENGTH = TransformerConfig(vocabulary=12, width=8, heads=2, depth=1, context=8)
ZOO = {
    "modules": lambda: layers(nn.ReLU()),
    "modules, all that LRP knows": lambda: layers(nn.Dropout(), nn.Tanh()),
    "F.relu": lambda: Calls(F.relu),
    "torch.relu": lambda: Calls(torch.relu),
    "x.relu()": lambda: Calls(lambda x: x.relu()),
    "x.relu_()": lambda: Calls(lambda x: x.relu_()),
    "F.relu in place": lambda: Calls(lambda x: F.relu(x, inplace=True)),
    "clamp(min=0)": lambda: Calls(lambda x: x.clamp(min=0)),
    "max with 0": lambda: Calls(lambda x: torch.maximum(x, torch.zeros_like(x))),
    "x * (x > 0)": lambda: Calls(lambda x: x * (x > 0)),
    "where": lambda: Calls(lambda x: torch.where(x > 0, x, 0.1 * x)),
    "F.gelu": lambda: Calls(F.gelu),
    "torch.tanh": lambda: Calls(torch.tanh),
    "x.sigmoid()": lambda: Calls(lambda x: x.sigmoid()),
    "F.leaky_relu": lambda: Calls(F.leaky_relu),
    "F.silu": lambda: Calls(F.silu),
    "x * x": lambda: Calls(lambda x: x * x),
    "x ** 2": lambda: Calls(lambda x: x**2),
    "x.abs()": lambda: Calls(lambda x: x.abs()),
    "2 x + 1": lambda: Calls(lambda x: 2 * x + 1),
    "reshaping": lambda: Calls(lambda x: torch.cat([x.view(-1, 2, 4)[:, 1], x.unflatten(1, (2, 4))[:, 0]], 1)),
    "normalised": lambda: Calls(lambda x: x / x.norm(dim=1, keepdim=True)),
    "detached": lambda: Calls(lambda x: x.detach().flip(1) + x),
    "autograd function": lambda: Calls(Own.apply),
    "functional linear": lambda: Calls(lambda x: F.linear(x, torch.eye(8).flip(0) * 2)),
    "constant weights": lambda: Calls(lambda x: x @ torch.linspace(-1, 1, 64).view(8, 8)),
    "shared, same shape": lambda: Shared(8, 8),
    "shared, other shape": lambda: Shared(8, 10),
    "in-place module": lambda: layers(nn.ReLU(inplace=True)),
    "subclass": lambda: layers(Subclass()),
    "residual, after": lambda: Residual("after"),
    "residual, before": lambda: Residual("before"),
    "residual, in place": lambda: Residual("in place"),
    "residual, joined": lambda: Residual("joined"),
    "gated": Gated,
    "GELU": lambda: layers(nn.GELU()),
    "Sigmoid": lambda: layers(nn.Sigmoid()),
    "LeakyReLU": lambda: layers(nn.LeakyReLU()),
    "ELU": lambda: layers(nn.ELU()),
    "Softplus": lambda: layers(nn.Softplus()),
    "SELU": lambda: layers(nn.SELU()),
    "ReLU6": lambda: layers(nn.ReLU6()),
    "PReLU": lambda: layers(nn.PReLU()),
    "Hardswish": lambda: layers(nn.Hardswish()),
    "LayerNorm": lambda: layers(nn.LayerNorm(8)),
    "BatchNorm1d": lambda: layers(nn.BatchNorm1d(8)),
    "Identity": lambda: layers(nn.Identity(), nn.ReLU()),
    "Softmax inside": lambda: layers(nn.Softmax(-1)),
    "Softmax at the end": lambda: nn.Sequential(*layers(nn.ReLU()), nn.Softmax(-1)),
    "softmax at the end": lambda: Calls(lambda x: x.softmax(-1)),
    "two rules in a row": lambda: layers(nn.Tanh(), nn.Sigmoid()),
    "only tanh": lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)),
    "linear": lambda: nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3)),
    "CNN, Flatten": lambda: images(nn.ReLU(), head="module"),
    "CNN, flatten": lambda: images(nn.ReLU()),
    "CNN, mean": lambda: images(nn.ReLU(), head="mean"),
    "CNN, BatchNorm2d": lambda: images(nn.BatchNorm2d(4), nn.ReLU()),
    "CNN, pool after ReLU": lambda: images(nn.ReLU(), nn.MaxPool2d(2)),
    "CNN, pool before ReLU": lambda: images(nn.MaxPool2d(2), nn.ReLU()),
    "CNN, dropout between": lambda: images(nn.ReLU(), nn.Dropout(), nn.MaxPool2d(2)),
    "CNN, overlapping pool": lambda: images(nn.MaxPool2d(3, 2, 1), nn.ReLU()),
    "CNN, dilated pool": lambda: images(nn.MaxPool2d(2, 2, dilation=2), nn.ReLU()),
    "CNN, AvgPool2d": lambda: images(nn.ReLU(), nn.AvgPool2d(2)),
    "course CNN": lambda: CNN(CNNConfig(channels=1, outputs=3, widths=(4, 4))),
    "course CNN, residual": lambda: CNN(CNNConfig(channels=1, outputs=3, widths=(4, 4), residual=True)),
    "course MLP": lambda: MLP(MLPConfig(inputs=6, outputs=3, width=8)),
    "course ViT": lambda: ViT(ViTConfig(channels=1, outputs=3, size=8, patch=4, width=8, heads=2, depth=1)),
    "LSTM": lambda: SequenceClassifier(RNNConfig(kind="lstm", inputs=4, outputs=3, width=8)),
    "LSTM, tokens": lambda: SequenceClassifier(RNNConfig(kind="lstm", vocabulary=12, outputs=3, width=8)),
    "TextClassifier": lambda: TextClassifier(LENGTH),
    "BERT": lambda: bert(small_bert, classes=3),
    "GPT-2": lambda: bert(small_gpt2),
}


def build(name, seed):
    """A model of the zoo with weights of size 1, two inputs and a baseline: model, x, x0, target, embedding."""
    torch.manual_seed(seed)
    model = ZOO[name]().eval()
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2)
            for weights in part._parameters.values():
                if weights is not None:
                    weights.normal_(std=0.5)
    embedding = next((part for part in model.modules() if isinstance(part, nn.Embedding)), None)
    if embedding is not None:
        high = min(8, embedding.num_embeddings)
        return model, torch.randint(high // 2, high, (2, 5)), None, (4, 1) if name == "GPT-2" else 1, embedding
    shape = (5, 4) if name == "LSTM" else (1, 8, 8) if "CNN" in name or "ViT" in name else (6,)
    return model, torch.randn(2, *shape), 0.3 * torch.randn(2, *shape), 1, None


class Explained:
    """One model, ready for Captum and shap in the way that the library calls them."""

    def __init__(self, model, inputs, base, target, embedding):
        self.scores = Scores(model, embedding)
        self.ids = inputs if embedding is not None else None
        self.x = (inputs if embedding is None else embedding(inputs)).detach()
        self.x0 = torch.zeros_like(self.x) if base is None else base
        place = torch.tensor([target] if isinstance(target, tuple) else [[target]])
        self.target = place.expand(len(inputs), -1)
        self.extra = (self.target, self.ids)
        with torch.no_grad():
            self.change = self.scores(self.x, *self.extra) - self.scores(self.x0, *self.extra)

    def complete(self, values, change=None):
        """Do the values add up to f(x) - f(x')?"""
        change = self.change if change is None else change
        return bool(((values.flatten(1).sum(1) - change).abs() <= 1e-3 * (1e-2 + change.abs().max())).all())

    def deep_lift(self):
        values = DeepLift(self.scores).attribute(self.x, self.x0, additional_forward_args=self.extra)
        return self.complete(values)

    def deep_shap(self):
        one = Explained.__new__(Explained)
        vars(one).update(vars(self))
        values = []
        for i in range(len(self.x)):  # Captum repeats tensors among the extra arguments in another order than x
            extra = (self.target[i : i + 1], None if self.ids is None else self.ids[i : i + 1])
            method = DeepLiftShap(_Fixed(self.scores, *extra))
            values.append(method.attribute(self.x[i : i + 1], torch.stack([self.x0[i], self.x0[i] * 0.5])))
        with torch.no_grad():
            base = [self.scores(part, *self.extra) for part in (self.x0, self.x0 * 0.5)]
            change = self.scores(self.x, *self.extra) - torch.stack(base).mean(0)
        return self.complete(torch.cat(values), change)

    def shap_deep(self):
        import shap

        values = []
        for i in range(len(self.x)):
            model = _Fixed(self.scores, self.target[i : i + 1], None if self.ids is None else self.ids[i : i + 1], True)
            found = shap.DeepExplainer(model, self.x0[i : i + 1]).shap_values(self.x[i : i + 1], check_additivity=False)
            values.append(torch.from_numpy(np.asarray(found)[..., 0]))
        return self.complete(torch.cat(values))

    def guided_backprop(self):
        values = GuidedBackprop(self.scores).attribute(self.x, additional_forward_args=self.extra)
        want, relus = self.guided()
        x = self.x.clone().requires_grad_()
        (plain,) = torch.autograd.grad(self.scores(x, *self.extra).sum(), x)
        named = relus or torch.allclose(plain, self.linear())  # without a ReLU it is the gradient by another name
        return named and torch.allclose(values, want, atol=1e-5 * float(want.abs().max()))

    def guided(self):
        x = self.x.clone().requires_grad_()
        with _Guided() as mode:
            score = self.scores(x, *self.extra)
        return torch.autograd.grad(score.sum(), x)[0], mode.seen

    def linear(self):
        x = (self.x * 3 + 1).requires_grad_()
        return torch.autograd.grad(self.scores(x, *self.extra).sum(), x)[0]

    def lrp(self):
        values = LRP(self.scores).attribute(self.x, additional_forward_args=self.extra)
        want = self.relevance()
        return torch.allclose(values, want, atol=1e-3 * float(want.abs().max()))

    def relevance(self):
        x = self.x.clone().requires_grad_()
        with _Ratios():
            score = self.scores(x, *self.extra)
        return x.detach() * torch.autograd.grad(score.sum(), x)[0]


class _Fixed(nn.Module):
    def __init__(self, scores, target, ids, matrix=False):
        super().__init__()
        self.scores, self.target, self.ids, self.matrix = scores, target, ids, matrix

    def forward(self, x):
        ids = None if self.ids is None else self.ids.expand(len(x), -1)
        score = self.scores(x, self.target.expand(len(x), -1), ids)
        return score[:, None] if self.matrix else score


class _Guided(TorchFunctionMode):
    """Guided backpropagation by its definition, for each way to write a ReLU in this file."""

    seen = False

    class Clamped(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx, gradient):
            return gradient.clamp(min=0) * (ctx.saved_tensors[0] > 0)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "").strip("_")
        product = name == "mul" and isinstance(args[1], torch.Tensor) and args[1].dtype == torch.bool
        if name == "detach":  # what is cut off the graph belongs to the score all the same
            return args[0]
        if (name in ("relu", "clamp", "maximum") or product) and args[0].is_floating_point():
            self.seen = True
            return self.Clamped.apply(args[0])
        return function(*args, **(kwargs or {}))


class _Ratios(TorchFunctionMode):
    """LRP as input × gradient, f(z) / z in place of each activation's slope (Ancona et al. 2018, arXiv 1711.06104)."""

    BENDS = ("relu", "tanh", "sigmoid", "leaky_relu", "gelu", "silu", "softmax", "abs", "exp", "maximum")

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "").strip("_")
        if name in self.BENDS or (name == "pow" and args[1] == 2):
            z = args[0].clone()  # some write into their input
            a = function(*args, **(kwargs or {})).detach()
            return z * torch.where(z == 0, 0.0, a / z).detach()
        if name == "detach":
            return args[0]
        return function(*args, **(kwargs or {}))


METHODS = {
    "captum.DeepLift": "deep_lift",
    "captum.DeepLiftShap": "deep_shap",
    "captum.LRP": "lrp",
    "guided_backprop": "guided_backprop",
    "shap_deep": "shap_deep",
}


def measure(method, model, inputs, base, target, embedding):
    """Return "right", "wrong", or "loud" where it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return "right" if getattr(Explained(model, inputs, base, target, embedding), METHODS[method])() else "wrong"
        except Exception:
            return "loud"
