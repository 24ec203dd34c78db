"""What a trained model reads beats noise by each metric, and all metrics work on each kind of model."""

import inspect

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from bigmodel_lab.explain.boards import Case, board
from bigmodel_lab.explain.methods.gradients import saliency
from bigmodel_lab.explain.metrics import METRICS, max_sensitivity, randomisation, randomised
from bigmodel_lab.models.cnn import CNN, CNNConfig
from bigmodel_lab.models.hugging_face import Logits
from bigmodel_lab.models.rnn import RNNConfig, SequenceClassifier
from bigmodel_lab.models.transformer import TextClassifier, TransformerConfig, ViT, ViTConfig


@pytest.fixture(scope="module")
def learnt():
    """A small convolutional network that has learnt where a bright square is: left (0) or right (1)."""
    generator = torch.Generator().manual_seed(0)
    x, y = 0.1 * torch.rand(256, 1, 8, 8, generator=generator), torch.arange(256) % 2
    truth = torch.zeros(256, 8, 8, dtype=torch.bool)
    for n, (row, column) in enumerate(torch.randint(0, 2, (256, 2), generator=generator).tolist()):
        left = column + 4 * int(y[n])
        truth[n, 2 + row : 5 + row, left : left + 3] = True
    x = x + truth.unsqueeze(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 16), nn.ReLU(), nn.Linear(16, 2)
        model = nn.Sequential(*layers)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    assert (model(x).argmax(1) == y).float().mean() > 0.99
    return model.eval(), x[:32], y[:32], truth[:32]


@pytest.mark.parametrize("name", sorted(METRICS.keys() - {"gini", "randomisation", "max_sensitivity", "completeness"}))
def test_what_the_model_reads_beats_noise_by_each_metric(learnt, name):
    model, x, y, truth = learnt
    about = METRICS[name]
    have = {"forward": model, "inputs": x, "target": y, "truth": truth, "distractor": ~truth}
    sign, scores = (1 if about.higher_is_better else -1), []
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(1))
    for values in (truth.unsqueeze(1).float() * x, noise):
        asked = inspect.signature(about.function).parameters
        given = {key: value for key, value in have.items() if key in asked}
        scores.append(sign * about.function(values, **given).mean().item())
    assert scores[0] > scores[1] + 0.02


def test_a_gradient_changes_with_the_weights_and_little_with_the_input(learnt):
    model, x, y, _ = learnt

    def explain(model, x):
        return saliency(model, x, y).values

    values = explain(model, x)
    assert randomisation(values, explain, model, x).mean() < 0.5
    near, far = (max_sensitivity(values, explain, model, x, radius=radius).mean() for radius in (0.01, 0.3))
    assert near < far


def built(kind):
    """An untrained model of the course in evaluation mode, its embedding, inputs and baseline."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ids = torch.randint(3, 20, (6, 9))
        if kind == "cnn":
            return CNN(CNNConfig(channels=1, outputs=2, widths=(4, 8))).eval(), None, torch.rand(6, 1, 8, 8), None
        if kind == "vit":
            vit = ViT(ViTConfig(channels=1, outputs=2, size=8, width=16, heads=2, depth=1)).eval()
            return vit, None, torch.rand(6, 1, 8, 8), None
        if kind == "steps":
            return SequenceClassifier(RNNConfig(inputs=3, width=8)).eval(), None, torch.rand(6, 9, 3), None
        if kind == "lstm":
            model = SequenceClassifier(RNNConfig(kind="lstm", vocabulary=20, width=8)).eval()
            return model, model.embedding, ids, 1
        if kind == "transformer":
            model = TextClassifier(TransformerConfig(vocabulary=20, width=16, heads=2)).eval()
            return model, model.encoder.embed.tokens, ids, 1
        sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        bert = BertForSequenceClassification(BertConfig(vocab_size=20, hidden_size=16, **sizes))
        return Logits(bert).eval(), bert.get_input_embeddings(), ids, 1


KINDS = ["cnn", "vit", "steps", "lstm", "transformer", "bert"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_board_of_all_metrics_has_no_empty_cell(kind):
    model, embedding, inputs, baseline = built(kind)
    truth = torch.zeros((6, *inputs.shape[2:]) if inputs.ndim == 4 else inputs.shape[:2], dtype=torch.bool)
    truth[:, 2:4] = True
    options = {"baseline": baseline, "embedding": embedding, "truth": truth, "distractor": ~truth}
    case = Case(forward=model, inputs=inputs, target=1, **options)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = board({"saliency": saliency}, list(METRICS), {kind: case}, few=3, resamples=10)
    assert found.reasons == {}
    for about, scores in zip(METRICS.values(), found.mean[:, :, 0].T, strict=True):
        assert ((scores >= about.low - 1e-9) & (scores <= about.high + 1e-9)).all()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module.training for module in model.modules())


@pytest.mark.parametrize("kind", KINDS)
def test_all_weights_or_those_of_the_head_are_drawn_anew(kind):
    model, _, inputs, _ = built(kind)
    everything, top = (randomised(model, inputs, layers=layers) for layers in ("all", "top"))
    moved = {name for name, value in top.state_dict().items() if not torch.equal(value, model.state_dict()[name])}
    assert moved
    assert all(name.startswith("model.classifier" if kind == "bert" else "head") for name in moved)
    for name, weight in everything.named_parameters():
        if weight.ndim > 1:
            assert not torch.equal(weight, model.get_parameter(name)), name
    assert not torch.allclose(everything(inputs), model(inputs))
