"""How fast `fit` is beside a plain PyTorch loop and Hugging Face's Trainer on the same model, data and steps.

CPU time in one process on one thread, because wall time on a shared machine measures the neighbours. The contestants
take turns, so that a slow minute hits all of them; each number is the median over the repeats.

    python benchmarks/train_loop.py [--repeats 7]
"""

import argparse
import io
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from bigmodel_lab.train import Batches, fit

BATCH, RATE = 64, 1e-3
TARGETS = {  # times as fast as it
    ("MLP", "plain loop"): 1.5,
    ("MLP", "Trainer"): 3.0,
    ("CNN", "plain loop"): 1.3,
    ("CNN+BN", "plain loop"): 1.3,
}


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def cnn() -> nn.Module:
    return nn.Sequential(
        *_block(1, 16, False), *_block(16, 32, False), nn.MaxPool2d(2), *_block(32, 32, False), *_head()
    )


def cnn_with_batch_norm() -> nn.Module:
    return nn.Sequential(*_block(1, 16, True), *_block(16, 32, True), nn.MaxPool2d(2), *_block(32, 32, True), *_head())


def _block(channels: int, width: int, norm: bool) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, 3, padding=1), *([nn.BatchNorm2d(width)] if norm else []), nn.ReLU()]


def _head() -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)]


def ours(model: nn.Module, x: Tensor, y: Tensor, epochs: int) -> None:
    fit(model, Batches(x, y, batch_size=BATCH), epochs=epochs, learning_rate=RATE, progress=False)


def plain(model: nn.Module, x: Tensor, y: Tensor, epochs: int) -> None:
    loader = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    for _ in range(epochs):
        total = 0.0
        for inputs, targets in loader:
            loss = F.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()


class Labelled(Dataset):
    """Examples as the Trainer wants them."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": self.x[index], "labels": self.y[index]}


class WithLoss(nn.Module):
    """A model that computes its own loss, as the Trainer wants it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.model(x)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


def trainer(model: nn.Module, x: Tensor, y: Tensor, epochs: int) -> None:
    from transformers import Trainer, TrainingArguments

    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        arguments = TrainingArguments(
            folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
        )
        Trainer(WithLoss(model), arguments, train_dataset=Labelled(x, y)).train()


def seconds(train: Callable, make: Callable, x: Tensor, y: Tensor, epochs: int) -> float:
    """CPU-seconds per epoch; setting up is part of it."""
    torch.manual_seed(0)
    model = make()
    start = time.process_time()
    train(model, x, y, epochs)
    return (time.process_time() - start) / epochs


def compare(name: str, make: Callable, x: Tensor, y: Tensor, *, epochs: int, repeats: int) -> None:
    contestants = {"fit": ours, "plain loop": plain, "Trainer": trainer}
    for train in contestants.values():  # imports and caches, not timed
        seconds(train, make, x, y, 1)
    times: dict[str, list[float]] = {key: [] for key in contestants}
    for _ in range(repeats):
        for key, train in contestants.items():
            times[key].append(seconds(train, make, x, y, epochs))
    for key, values in times.items():
        ratio = statistics.median(value / mine for value, mine in zip(values, times["fit"], strict=True))
        target = TARGETS.get((name, key))
        verdict = f"{target:.1f}  {'PASS' if ratio >= target else 'MISS'}" if target else ""
        print(f"{name:6} {key:11} {1000 * statistics.median(values):9.1f} {ratio:8.2f}  {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    warnings.filterwarnings("ignore")  # the Trainer's, not ours
    torch.set_num_threads(1)
    digits = load_digits()
    x, y = torch.tensor(digits.images / 16, dtype=torch.float32).unsqueeze(1), torch.tensor(digits.target)
    print(f"torch {torch.__version__}, one thread, {len(y)} digits, batch {BATCH}, AdamW; {repeats} repeats")
    print("model  contestant  ms/epoch  x fit  target")
    compare("MLP", mlp, x, y, epochs=10, repeats=repeats)
    compare("CNN", cnn, x, y, epochs=2, repeats=repeats)
    compare("CNN+BN", cnn_with_batch_norm, x, y, epochs=2, repeats=repeats)


if __name__ == "__main__":
    main()
