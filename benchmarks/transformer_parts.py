"""What each part of a Transformer is good for: the whole model, and models that lack one part, on one small task.

Task: twelve digits on a ring; at each place, say the right neighbour minus the left one, modulo ten. It needs the order
(which neighbour is which), two looks, and a function of the two that no sum gives. Guessing is right once in ten.
Encoders of width 32 with a linear layer for each token; 2 048 rings, AdamW, the same steps, learning rate and schedule
for all. Kept are the test accuracy for each seed, the training loss of each epoch, and the parameters. As a control,
what failed is trained again at a third and at three times the learning rate (`other_rates`, one seed).

    python -m benchmarks.transformer_parts [--seeds 3]
"""

import argparse
import time

import torch
from torch import Tensor, nn

from benchmarks.saved import save
from bigmodel_lab import train
from bigmodel_lab.models import transformer

LENGTH, WIDTH, RINGS, EPOCHS, BATCH, RATE = 12, 32, 2048, 20, 32, 3e-3
PARTS = {
    "all parts": {},
    "one head": {"heads": 1},
    "no positions": {"positions": "none"},
    "no feed-forward": {"feed_forward": False},
    "no residual connections": {"residual": False},
    "no normalisation": {"norm": "none"},
    "post-norm": {"norm": "post"},
    "sinusoidal positions": {"positions": "sinusoidal"},
}
FAILED = ("no positions", "no feed-forward", "no residual connections", "no normalisation")
DEEP = ("all parts", "no residual connections", "no normalisation", "post-norm")  # at depth 6 too


def neighbours(n: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return rings of digits as ids (N, T), digit + 1, and at each place (right - left) modulo 10, (N, T)."""
    digits = torch.randint(10, (n, LENGTH), generator=torch.Generator().manual_seed(seed))
    return digits + 1, (digits.roll(-1, 1) - digits.roll(1, 1)) % 10


def run(depth: int, seed: int, *, rate: float = RATE, **dial) -> dict:
    """Train one encoder and return its scores."""
    torch.manual_seed(seed)
    config = transformer.TransformerConfig(
        vocabulary=11, context=LENGTH, padding=None, **({"width": WIDTH, "depth": depth, "heads": 4} | dial)
    )
    model = nn.Sequential(transformer.Encoder(config), nn.Linear(WIDTH, 10))
    inputs, targets = neighbours(RINGS, seed=seed)
    start = time.process_time()
    history = train.fit(
        model,
        train.Batches(inputs, targets, batch_size=BATCH, seed=seed),
        epochs=EPOCHS,
        learning_rate=rate,
        schedule=train.warmup_cosine(warmup=0.1),
        clip_norm=1.0,
        loss=train.token_loss,
        progress=False,
    )
    seconds = time.process_time() - start
    inputs, targets = neighbours(1000, seed=1000)
    accuracy = (train.predict(model, inputs).argmax(-1) == targets).float().mean().item()
    return {
        "depth": depth,
        "seed": seed,
        "accuracy": round(accuracy, 4),
        "losses": [round(row["train_loss"], 4) for row in history.rows],
        "parameters": sum(p.numel() for p in model.parameters()),
        "cpu_seconds": round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    rows = []
    for depth, parts in ((2, PARTS), (6, DEEP)):
        for part in parts:
            for seed in seeds:
                row = {"part": part} | run(depth, seed, **PARTS[part])
                rows.append(row)
                print(f"depth {depth} {part:24} seed {seed}: {row['accuracy']:.3f}, {row['cpu_seconds']} s", flush=True)
    others = []
    for part in FAILED:
        for rate in (round(RATE / 3, 6), round(3 * RATE, 6)):
            others.append({"part": part, "rate": rate} | run(2, 0, rate=rate, **PARTS[part]))
            print(f"rate {rate:.0e} {part:24} {others[-1]['accuracy']:.3f}", flush=True)
    recipe = {"length": LENGTH, "width": WIDTH, "rings": RINGS, "epochs": EPOCHS}
    recipe |= {"batch_size": BATCH, "learning_rate": RATE}
    save("transformer_parts", {"seeds": list(seeds), "recipe": recipe, "rows": rows, "other_rates": others})


if __name__ == "__main__":
    main()
