"""ROAR on scanned digits: how much accuracy is lost when what an explanation points at is removed before training?

A small CNN on scikit-learn's digits (8 × 8 pixels). Each method's highest 10, 30 and 50 % of pixels are set to the mean
grey in training and test images, and a new model is trained (Hooker et al. 2019). Beside the methods: noise, an edge
filter, and the brightness of the pixel itself. Kept are the test accuracies for each seed and the CPU-seconds.

    python -m benchmarks.roar [--seeds 3]
"""

import argparse
import json
import time
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.saved import save
from bigmodel_lab import train
from bigmodel_lab.data.images import digits
from bigmodel_lab.explain import controls
from bigmodel_lab.explain.methods import gradients, perturbation, rules
from bigmodel_lab.explain.roar import roar
from bigmodel_lab.models.cnn import CNN, CNNConfig

WIDTHS, EPOCHS, BATCH, RATE, SHARES = (16, 32), 12, 64, 5e-3, (0.1, 0.3, 0.5)
METHODS = {
    "saliency": gradients.saliency,
    "input × gradient": gradients.input_x_gradient,
    "integrated gradients": gradients.integrated_gradients,
    "SmoothGrad²": partial(gradients.smoothgrad_squared, samples=10),
    "guided backprop": rules.guided_backprop,
    "occlusion": perturbation.occlusion,
}
CONTROLS = {"|input|": controls.magnitude, "edges": controls.edges, "random": controls.random}


def fit(images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """A small CNN, trained from scratch."""
    torch.manual_seed(seed)
    model = CNN(CNNConfig(channels=1, outputs=10, widths=WIDTHS))
    recipe = {"learning_rate": RATE, "schedule": train.warmup_cosine(warmup=0.1), "progress": False}
    train.fit(model, train.Batches(images, labels, batch_size=BATCH), epochs=EPOCHS, **recipe)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    begun = time.process_time()
    sets = digits()
    found = roar(
        METHODS, fit, *((part.images, part.labels) for part in sets), shares=SHARES, seeds=seeds, controls=CONTROLS
    )
    print(found.table(), found.whole)
    recipe = {"widths": list(WIDTHS), "epochs": EPOCHS, "batch": BATCH, "learning_rate": RATE}
    result = {
        "question": "test accuracy on digits after removing what a method points at and training anew",
        "recipe": recipe,
        "cpu_seconds": round(time.process_time() - begun, 1),
    }
    save(
        "roar",
        result | json.loads(found.to_json()),
        machine="2 CPU cores, one thread",
        packages=("torch", "captum", "scikit-learn"),
    )


if __name__ == "__main__":
    main()
