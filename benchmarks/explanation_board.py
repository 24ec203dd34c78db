"""The board: explanation methods × metrics on a CNN, a ViT, an LSTM and a Transformer, where the truth is planted.

Images: drawn shapes of four forms, 24 × 24 pixels, glyph and distractor known. Texts: reviews written by a rule, the
deciding words known; negations that turn no opinion are the distractors. The models of text see some words replaced by
[MASK] in training, so that a text of masks, the baseline, is nothing new to them; the images' is the mean colour.
Kept for each seed: the whole board, the models' accuracies, and CPU-seconds of training and scoring.

    python -m benchmarks.explanation_board [--seeds 3]
"""

import argparse
import json
import time
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.saved import save
from bigmodel_lab import train
from bigmodel_lab.data.images import ImageSet, shapes
from bigmodel_lab.data.sentiment import NEGATIONS, sentiment
from bigmodel_lab.explain import shapley
from bigmodel_lab.explain.boards import Board, Case, board
from bigmodel_lab.explain.methods import attention, cam, gradients, perturbation, rules
from bigmodel_lab.explain.metrics import METRICS
from bigmodel_lab.models.attention import attention_maps
from bigmodel_lab.models.cnn import CNN, CNNConfig
from bigmodel_lab.models.rnn import RNNConfig, SequenceClassifier
from bigmodel_lab.models.transformer import TextClassifier, TransformerConfig, ViT, ViTConfig

FORMS, SIZE, LENGTH, EXAMPLES, FEW = ("ring", "cross", "bar", "heart"), 24, 36, 48, 8
PAD, MASK = 0, 1
METHODS = {
    "saliency": gradients.saliency,
    "input_x_gradient": gradients.input_x_gradient,
    "integrated_gradients": gradients.integrated_gradients,
    "smoothgrad": gradients.smoothgrad,
    "smoothgrad_squared": gradients.smoothgrad_squared,
    "vargrad": gradients.vargrad,
    "gradient_shap": rules.gradient_shap,
    "deep_lift": rules.deep_lift,
    "deep_shap": rules.deep_shap,
    "guided_backprop": rules.guided_backprop,
    "lrp": rules.lrp,
    "grad_cam": cam.grad_cam,
    "guided_grad_cam": cam.guided_grad_cam,
    "attention_rollout": attention.attention_rollout,
    "occlusion": perturbation.occlusion,
    "ablation": perturbation.ablation,
    "lime": perturbation.lime,
    "kernel_shap": shapley.kernel_shap,
    "shapley_sampling": shapley.shapley_sampling,
}


def pictures(seed: int) -> tuple[ImageSet, Tensor, ImageSet, Tensor]:
    """Training images and labels, test images and labels, of the four forms."""
    parts = []
    for part in shapes(train=20_000, test=1000, size=SIZE, difficulty=0.3, seed=seed):
        new = torch.full((len(part.classes),), -1)
        new[[part.classes.index(form) for form in FORMS]] = torch.arange(len(FORMS))
        kept = part[new[part.labels] >= 0]
        parts += [kept, new[kept.labels]]
    return tuple(parts)


def texts(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Training ids (N, T) and labels, test ids and labels, deciding words and idle negations (N, T) of the test."""
    sets = sentiment(6000, 500, seed=seed)
    words = sorted({word for part in sets for text in part.texts for word in text.split()})
    number = {word: at for at, word in enumerate(words, start=2)}  # after padding and [MASK]
    ids = [torch.zeros(len(part), LENGTH, dtype=torch.int64) for part in sets]
    truth, idle = (torch.zeros(len(sets[1]), LENGTH, dtype=torch.bool) for _ in range(2))
    turning = {word for negation in NEGATIONS for word in negation.split()}
    for rows, part in zip(ids, sets, strict=True):
        for row, text in zip(rows, part.texts, strict=True):
            row[: len(text.split())] = torch.tensor([number[word] for word in text.split()])
    for row, (text, decides) in enumerate(zip(sets[1].texts, sets[1].truth, strict=True)):
        truth[row, : len(decides)] = torch.tensor(decides)
        idle[row, : len(decides)] = torch.tensor([word in turning for word in text.split()])
    return ids[0], sets[0].labels, ids[1], sets[1].labels, truth, idle & ~truth


def hide(ids: Tensor, generator: torch.Generator) -> Tensor:
    """Replace words by [MASK]: in three of ten texts, a share drawn from 0 to 1."""
    chosen = torch.rand(len(ids), 1, generator=generator) < 0.3
    share = torch.rand(len(ids), 1, generator=generator) * chosen
    return ids.masked_fill((torch.rand(ids.shape, generator=generator) < share) & (ids != PAD), MASK)


def fitted(model: nn.Module, batches: train.Batches, epochs: int, rate: float) -> nn.Module:
    schedule = train.warmup_cosine(warmup=0.1)
    train.fit(model, batches, epochs=epochs, learning_rate=rate, schedule=schedule, clip_norm=1.0, progress=False)
    return model.eval()


def cases(seed: int) -> tuple[dict[str, Case], dict[str, float], dict[str, float]]:
    """The four trained models with what is to be explained, their test accuracies, and CPU-seconds of training."""
    train_set, train_labels, test_set, test_labels = pictures(seed)
    ids, labels, test_ids, test_ids_labels, truth, idle = texts(seed)
    seen = train.Batches(train_set.images, train_labels, batch_size=64)
    read = train.Batches(ids, labels, batch_size=64, augment=hide)
    words = {"vocabulary": int(max(ids.max(), test_ids.max())) + 1, "outputs": 2, "width": 32}
    recipes = {
        "CNN": (lambda: CNN(CNNConfig(outputs=4, widths=(16, 32, 64))), seen, 3, 3e-3),
        "ViT": (lambda: ViT(ViTConfig(outputs=4, size=SIZE, patch=6, width=64, factor=2)), seen, 5, 3e-3),
        "LSTM": (lambda: SequenceClassifier(RNNConfig(kind="lstm", pooling="mean", **words)), read, 8, 5e-3),
        "Transformer": (
            lambda: TextClassifier(TransformerConfig(depth=1, factor=2, context=LENGTH, **words)),
            read,
            8,
            5e-3,
        ),
    }
    grey = train_set.images.mean((0, 2, 3), keepdim=True)
    image = {"baseline": grey, "truth": test_set.masks[:EXAMPLES], "distractor": test_set.distractors[:EXAMPLES]}
    text = {"truth": truth[:EXAMPLES], "distractor": idle[:EXAMPLES]}
    found, accuracy, seconds = {}, {}, {}
    for name, (build, batches, epochs, rate) in recipes.items():
        begun = time.process_time()
        torch.manual_seed(seed)
        model = fitted(build(), batches, epochs, rate)
        seconds[name] = round(time.process_time() - begun, 1)
        inputs, right = (test_set.images, test_labels) if batches is seen else (test_ids, test_ids_labels)
        accuracy[name] = round((train.predict(model, inputs).argmax(1) == right).float().mean().item(), 4)
        background = (train_set.images if batches is seen else ids)[:16]
        own = {method: {"background": background} for method in ("deep_shap", "gradient_shap")}
        if name in ("ViT", "Transformer"):
            own["attention_rollout"] = {"maps": partial(attention_maps, model)}
        if batches is seen:
            about = image
        else:
            embedding = model.embedding if name == "LSTM" else model.encoder.embed.tokens
            about = text | {"embedding": embedding, "baseline": masked(inputs[:EXAMPLES])}
        common = {"forward": model, "inputs": inputs[:EXAMPLES], "target": right[:EXAMPLES], "options": own}
        found[name] = Case(**common, **about)
    return found, accuracy, seconds


def masked(ids: Tensor) -> Tensor:
    """The baseline of a text: [MASK] for each of its words."""
    return ids.masked_fill(ids != PAD, MASK)


def rounded(one: Board, digits: int = 4) -> Board:
    """The board with `digits` digits behind the point, to keep the file small."""
    arrays = {name: np.round(value, digits) for name, value in vars(one).items() if isinstance(value, np.ndarray)}
    return replace(one, **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    boards, accuracies, training, scoring = [], [], [], []
    for seed in range(parser.parse_args().seeds):
        four, accuracy, seconds = cases(seed)
        begun = time.process_time()
        one = board(METHODS, list(METRICS), four, few=FEW, seed=seed)
        scoring.append(round(time.process_time() - begun, 1))
        boards.append(json.dumps(json.loads(rounded(one).to_json()), separators=(",", ":")))  # one line each
        accuracies.append(accuracy)
        training.append(seconds)
        print(seed, one, accuracy, seconds, scoring[-1], flush=True)
        for case in one.cases:
            print(one.table(case=case), flush=True)
    result = {
        "question": "explanation methods × metrics on four models whose inputs have a planted truth",
        "examples": EXAMPLES,
        "few": FEW,
        "accuracy": accuracies,
        "training_cpu_seconds": training,
        "scoring_cpu_seconds": scoring,
        "boards": boards,
    }
    save("explanation_board", result, machine="2 CPU cores, one thread", packages=("torch", "captum", "numpy"))


if __name__ == "__main__":
    main()
