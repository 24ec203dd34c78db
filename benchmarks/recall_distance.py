"""Accuracy of recall against distance: which networks name a marked symbol that came many steps ago?

Two ways to train, on `data.sequences.recall` with 8 symbols (guessing is right once in 8), everything else equal:
*one* trains and tests at one distance, the mark at the very beginning; *mixed* trains on sequences of 65 steps with the
mark at any place and tests at each distance. 600 steps of 64 sequences, AdamW, the same learning rate and schedule for
all. Kept are the test accuracy for each seed, parameters, and CPU-seconds of one training at distance 64.

    python -m benchmarks.recall_distance [--seeds 3]
"""

import argparse
import time

import torch
from torch import Tensor, nn

from benchmarks.saved import save
from bigmodel_lab import train
from bigmodel_lab.data.sequences import recall
from bigmodel_lab.models.rnn import RNNConfig, SequenceClassifier
from bigmodel_lab.models.transformer import TextClassifier, TransformerConfig

DISTANCES, SYMBOLS, LONGEST, WIDTH = (4, 8, 16, 32, 64), 8, 64, 32
STEPS, BATCH, EPOCHS, RATE = 600, 64, 4, 3e-3
TESTS = 1000  # sequences for each accuracy
KINDS = {
    "RNN": {"kind": "rnn"},
    "LSTM": {"kind": "lstm"},
    "GRU": {"kind": "gru"},
    "LSTM, forget bias 3": {"kind": "lstm", "forget_bias": 3.0},
}
MODELS = (*KINDS, "Transformer")


def network(name: str, length: int) -> nn.Module:
    """The model called `name` for sequences of `length` steps."""
    sizes = {"vocabulary": 2 * SYMBOLS + 1, "outputs": SYMBOLS, "width": WIDTH}
    if name == "Transformer":
        return TextClassifier(TransformerConfig(**sizes, depth=1, heads=4, context=length))
    return SequenceClassifier(RNNConfig(**sizes, **KINDS[name]))


def any_place(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """About `n` sequences of LONGEST + 1 steps, as many with the mark at each place."""
    parts = [
        recall(n // (LONGEST + 1), d, symbols=SYMBOLS, lead=LONGEST - d, seed=1000 * seed + d)
        for d in range(LONGEST + 1)
    ]
    return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])


def fitted(name: str, x: Tensor, y: Tensor, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = network(name, x.shape[1])
    recipe = {"learning_rate": RATE, "schedule": train.warmup_cosine(warmup=0.1), "clip_norm": 1.0}
    train.fit(model, train.Batches(x, y, batch_size=BATCH), epochs=EPOCHS, progress=False, **recipe)
    return model


def accuracy(model: nn.Module, distance: int, lead: int, seed: int) -> float:
    x, y = recall(TESTS, distance, symbols=SYMBOLS, lead=lead, seed=10_000 + seed)
    return round((train.predict(model, x).argmax(1) == y).float().mean().item(), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    seeds = list(range(parser.parse_args().seeds))
    examples = STEPS * BATCH // EPOCHS
    one = {name: {str(d): [] for d in DISTANCES} for name in MODELS}
    mixed = {name: {str(d): [] for d in (0, *DISTANCES)} for name in MODELS}
    parameters, seconds = {}, {}
    for name in MODELS:
        for seed in seeds:
            for distance in DISTANCES:
                begun = time.process_time()
                model = fitted(name, *recall(examples, distance, symbols=SYMBOLS, seed=seed), seed)
                seconds[name] = round(time.process_time() - begun, 1)
                one[name][str(distance)].append(accuracy(model, distance, 0, seed))
            model = fitted(name, *any_place(examples, seed), seed)
            for distance in (0, *DISTANCES):
                mixed[name][str(distance)].append(accuracy(model, distance, LONGEST - distance, seed))
        parameters[name] = sum(p.numel() for p in model.parameters())
        print(name, parameters[name], one[name], mixed[name], seconds[name], flush=True)
    result = {
        "question": "accuracy of recall against distance",
        "seeds": seeds,
        "recipe": {"steps": STEPS, "batch": BATCH, "epochs": EPOCHS, "learning_rate": RATE, "width": WIDTH},
        "symbols": SYMBOLS,
        "distances": list(DISTANCES),
        "longest": LONGEST,
        "one": one,
        "mixed": mixed,
        "parameters": parameters,
        "cpu_seconds_at_64": seconds,
    }
    save("recall_distance", result, machine="2 CPU cores, one thread")


if __name__ == "__main__":
    main()
