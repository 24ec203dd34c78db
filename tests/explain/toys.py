"""Small models of every kind that explanation methods must take, and toys whose explanations are known by hand."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KINDS = ("cnn", "residual", "vit", "lstm", "gru", "text", "bert", "gpt2", "audio")


@dataclass(frozen=True)
class Sample:
    """A model with two examples, ready to be explained: `method(s.model, s.inputs, s.target, **s.given)`."""

    model: nn.Module
    inputs: Tensor
    target: object
    embedding: nn.Module | None = None

    @property
    def given(self) -> dict[str, nn.Module | None]:
        return {"embedding": self.embedding}

    @property
    def background(self) -> Tensor:
        """Three more examples."""
        generator = torch.Generator().manual_seed(5)
        shape = (3, *self.inputs.shape[1:])
        if self.embedding is None:
            return torch.rand(shape, generator=generator)
        return torch.randint(5, 30, shape, generator=generator)


def _ids() -> Tensor:
    ids = torch.randint(5, 30, (2, 7), generator=torch.Generator().manual_seed(3))
    ids[1, 5:] = 0  # padding
    return ids


def _images() -> Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(4))


def _cnn(residual: bool = False) -> Sample:
    from bigmodel_lab.models.cnn import CNN, CNNConfig

    model = CNN(CNNConfig(outputs=4, widths=(4, 6), residual=residual))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics as after some training
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    return Sample(model.eval(), _images(), torch.tensor([1, 3]))


def _vit() -> Sample:
    from bigmodel_lab.models.transformer import ViT, ViTConfig

    model = ViT(ViTConfig(size=16, patch=4, width=16, depth=1, heads=2, outputs=4))
    return Sample(model.eval(), _images(), torch.tensor([1, 3]))


def _recurrent(kind: str) -> Sample:
    from bigmodel_lab.models.rnn import RNNConfig, SequenceClassifier

    model = SequenceClassifier(RNNConfig(kind=kind, vocabulary=30, width=8)).eval()
    return Sample(model, _ids(), 1, model.embedding)


def _text() -> Sample:
    from bigmodel_lab.models.transformer import TextClassifier, TransformerConfig

    model = TextClassifier(TransformerConfig(vocabulary=30, context=12, width=16, depth=1, heads=2, outputs=3)).eval()
    return Sample(model, _ids(), torch.tensor([0, 2]), model.encoder.embed.tokens)


def _hugging_face(kind: str) -> Sample:
    from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel

    from bigmodel_lab.models.hugging_face import Logits

    if kind == "bert":
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        config = BertConfig(vocab_size=30, max_position_embeddings=16, pad_token_id=0, **sizes)
        model = Logits(BertForSequenceClassification(config)).eval()
        return Sample(model, _ids(), torch.tensor([0, 1]), model.model.get_input_embeddings())
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    model = Logits(GPT2LMHeadModel(GPT2Config(vocab_size=30, **sizes, **ends))).eval()
    return Sample(model, _ids(), (4, 7), model.model.get_input_embeddings())


def _audio() -> Sample:
    from bigmodel_lab.models.rnn import RNNConfig, SequenceClassifier

    model = SequenceClassifier(RNNConfig(kind="gru", inputs=5, width=8, outputs=3)).eval()
    return Sample(model, torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(6)), torch.tensor([0, 2]))


MAKE: dict[str, Callable[[], Sample]] = {
    "cnn": _cnn,
    "residual": lambda: _cnn(residual=True),
    "vit": _vit,
    "lstm": lambda: _recurrent("lstm"),
    "gru": lambda: _recurrent("gru"),
    "text": _text,
    "bert": lambda: _hugging_face("bert"),
    "gpt2": lambda: _hugging_face("gpt2"),
    "audio": _audio,
}


def sample(kind: str) -> Sample:
    """Return a sample of `kind`, its weights larger than at the start of training."""
    torch.manual_seed(1)
    made = MAKE[kind]()
    with torch.no_grad():
        for name, parameter in made.model.named_parameters():
            if parameter.ndim > 1 and "embed" not in name:
                parameter.mul_(1.5)
    return made


class Linear(nn.Module):
    """f(x) = w · x + b for each of two classes, x (B, ...)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.map = nn.Linear(size, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.map(x.flatten(1))

    def weights(self, target: int, like: Tensor) -> Tensor:
        return self.map.weight[target].detach().view(1, *like.shape[1:]).expand_as(like)


class Saturated(nn.Module):
    """f(x) = relu(2 - relu(1 - x₁) - relu(x₂ - 1)), (B, 2) -> (B,): the toy of Captum's papers, flat in places.

    With `functional`, the same numbers by F.relu; with `reused`, by one module called three times.
    """

    def __init__(self, *, functional: bool = False, reused: bool = False) -> None:
        super().__init__()
        relus = [nn.ReLU()] * 3 if reused else [nn.ReLU() for _ in range(3)]
        self.relus = [F.relu] * 3 if functional else nn.ModuleList(relus)

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = self.relus
        return third(2 - first(1 - x[:, 0]) - second(x[:, 1] - 1))
