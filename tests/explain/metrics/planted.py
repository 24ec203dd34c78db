"""Models of which it is known what they read, for images, token ids and sequences."""

import torch
from torch import nn


class Patch(nn.Module):
    """Images (B, C, 6, 6) -> logits (B, 2): class 1 sees the sum over rows and columns 1 and 2, class 0 nothing."""

    def forward(self, x):
        seen = x[:, :, 1:3, 1:3].mean((1, 2, 3))
        return torch.stack([torch.zeros_like(seen), 8 * seen - 4], dim=1)


class Words(nn.Module):
    """Ids (B, T) -> logits (B, 2): each word 3 speaks for class 1, no other word says anything."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.head = nn.Linear(4, 2)
        with torch.no_grad():
            self.embedding.weight.zero_()
            self.embedding.weight[3] = 1.0
            self.head.weight.copy_(torch.tensor([[0.0] * 4, [1.0] * 4]))
            self.head.bias.copy_(torch.tensor([0.0, -4.0]))

    def forward(self, ids):
        return self.head(self.embedding(ids).sum(1))


class Steps(nn.Module):
    """Sequences (B, T, D) -> logits (B, 2): class 1 sees steps 2 and 3."""

    def forward(self, x):
        seen = x[:, 2:4].mean((1, 2))
        return torch.stack([torch.zeros_like(seen), 8 * seen - 4], dim=1)


def planted(kind):
    """The model, inputs (B, ...), target 1, baseline, truth (B, places) of one kind of input; B = 8."""
    generator = torch.Generator().manual_seed(0)
    if kind == "images":
        truth = torch.zeros(8, 6, 6, dtype=torch.bool)
        truth[:, 1:3, 1:3] = True
        return Patch().eval(), 0.5 + 0.5 * torch.rand(8, 3, 6, 6, generator=generator), 1, 0.0, truth
    if kind == "ids":
        ids = torch.randint(4, 10, (8, 12), generator=generator)
        ids[:, 2] = ids[:, 7] = 3
        return Words().eval(), ids, 1, 0, ids == 3
    truth = torch.zeros(8, 9, dtype=torch.bool)
    truth[:, 2:4] = True
    return Steps().eval(), 0.5 + 0.5 * torch.rand(8, 9, 5, generator=generator), 1, 0.0, truth


def spread(places, inputs):
    """A map of places (B, ...) in the shape of the inputs: shared equally among channels."""
    if inputs.ndim == 4:
        return places.unsqueeze(1).expand(inputs.shape) / inputs.shape[1]
    return places.unsqueeze(-1).expand(inputs.shape) / inputs.shape[-1] if inputs.ndim == 3 else places.clone()
