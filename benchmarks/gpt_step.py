"""A GPT's training step by `fit`, beside nanoGPT's loop, the Trainer and Lightning: same model, batch and steps.

All train the same `Decoder` on the same stream of tokens with AdamW, warm-up and cosine, and gradients clipped to
norm 1; each prepares batches and steps in its own way. nanoGPT's loop is written after its published train.py: random
offsets into the stream, an AdamW that is not fused on a CPU, a look at the loss every tenth step. Lightning takes part
if it is installed. CPU time on one thread; contestants take turns; each ratio is the median over the turns. The whole
process is a fresh one for each contestant: imports, setting up, training.

    python -m benchmarks.gpt_step [--repeats 5] [--save]
"""

import argparse
import io
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from benchmarks.saved import ROOT, save
from bigmodel_lab.train.losses import token_loss

RATE, CLIP, WARMUP = 1e-3, 1.0, 0.1
VOCABULARY = 256


@dataclass(frozen=True, kw_only=True)
class Regime:
    width: int
    heads: int
    depth: int
    context: int
    batch: int
    steps: int
    targets: dict[str, float]  # times as fast as it


REGIMES = {
    "small": Regime(
        width=64, heads=4, depth=2, context=64, batch=4, steps=100,
        targets={"plain loop": 1.1, "Trainer": 1.2, "Lightning": 1.2},
    ),
    "small model, larger batch": Regime(  # the matrices take the time, so the loop matters less
        width=64, heads=4, depth=2, context=64, batch=16, steps=40, targets={},
    ),
    "large": Regime(
        width=128, heads=4, depth=6, context=128, batch=16, steps=8,
        targets={"plain loop": 0.95, "Trainer": 0.95, "Lightning": 0.95},
    ),
}  # fmt: skip
PROCESS_TARGET = 1.0
PROCESS_STEPS = 200


def model_of(regime: Regime) -> nn.Module:
    from bigmodel_lab.models.transformer import Decoder, TransformerConfig

    torch.manual_seed(0)
    sizes = {"width": regime.width, "heads": regime.heads, "depth": regime.depth, "context": regime.context}
    return Decoder(TransformerConfig(vocabulary=VOCABULARY, **sizes))


def stream_of(regime: Regime, steps: int) -> Tensor:
    """Return tokens (N + 1,), enough for `steps` batches without a repetition."""
    count = steps * regime.batch * regime.context
    return torch.randint(VOCABULARY, (count + 1,), generator=torch.Generator().manual_seed(1))


def blocks_of(stream: Tensor, regime: Regime) -> tuple[Tensor, Tensor]:
    return stream[:-1].view(-1, regime.context), stream[1:].view(-1, regime.context)


def factor(step: int, total: int) -> float:
    """Return warm-up, then half a cosine: what `warmup_cosine` computes."""
    rise = round(WARMUP * total)
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * (step - rise) / max(1, total - rise))) / 2


def ours(model: nn.Module, stream: Tensor, regime: Regime, steps: int) -> None:
    from bigmodel_lab.train import Batches, fit, warmup_cosine

    fit(
        model,
        Batches(*blocks_of(stream, regime), batch_size=regime.batch),
        epochs=1,
        loss=token_loss,
        learning_rate=RATE,
        schedule=warmup_cosine(warmup=WARMUP),
        clip_norm=CLIP,
        progress=False,
    )


def plain(model: nn.Module, stream: Tensor, regime: Regime, steps: int) -> None:
    data, length = stream.numpy().astype("uint16"), regime.context

    def get_batch() -> tuple[Tensor, Tensor]:
        starts = torch.randint(len(data) - length, (regime.batch,))
        x = torch.stack([torch.from_numpy(data[i : i + length].astype("int64")) for i in starts])
        y = torch.stack([torch.from_numpy(data[i + 1 : i + 1 + length].astype("int64")) for i in starts])
        return x, y

    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95))
    x, y = get_batch()
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * factor(step, steps)
        loss = token_loss(model(x), y)
        x, y = get_batch()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 10 == 0:
            print(f"iter {step}: loss {loss.item():.4f}")


class Pairs(torch.utils.data.Dataset):
    """Texts as the Trainer wants them, one at a time."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"ids": self.x[index], "labels": self.y[index]}


class WithLoss(nn.Module):
    """A model that computes its own loss, as the Trainer wants it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.model(ids)
        return {"loss": token_loss(logits, labels), "logits": logits}


def trainer(model: nn.Module, stream: Tensor, regime: Regime, steps: int) -> None:
    from transformers import Trainer, TrainingArguments

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=steps,
            per_device_train_batch_size=regime.batch,
            learning_rate=RATE,
            lr_scheduler_type="cosine",
            warmup_steps=round(WARMUP * steps),
            max_grad_norm=CLIP,
            save_strategy="no",
            report_to="none",
            logging_steps=10,
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
        )
        Trainer(WithLoss(model), arguments, train_dataset=Pairs(*blocks_of(stream, regime))).train()


def lightning(model: nn.Module, stream: Tensor, regime: Regime, steps: int) -> None:
    import logging

    import lightning as L

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            return token_loss(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> dict:
            optimizer = torch.optim.AdamW(self.parameters(), lr=RATE)
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(step, steps))
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    data = torch.utils.data.TensorDataset(*blocks_of(stream, regime))
    L.Trainer(
        max_steps=steps,
        gradient_clip_val=CLIP,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(Module(), torch.utils.data.DataLoader(data, batch_size=regime.batch, shuffle=True))


def contestants() -> dict[str, Callable]:
    found = {"fit": ours, "plain loop": plain, "Trainer": trainer, "Lightning": lightning}
    if not find_spec("lightning"):
        del found["Lightning"]
    return found


def seconds(train: Callable, regime: Regime, steps: int) -> float:
    """CPU-seconds of `steps` steps; setting up is part of it."""
    model, stream = model_of(regime), stream_of(regime, steps)
    quiet = io.StringIO()
    start = time.process_time()
    with redirect_stdout(quiet), redirect_stderr(quiet):
        train(model, stream, regime, steps)
    return time.process_time() - start


def process_seconds(name: str) -> float:
    """CPU-seconds of a fresh process in which `name` trains in the small regime."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "benchmarks.gpt_step", "--only", name], cwd=ROOT, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(measure: Callable[[str], float], targets: dict[str, float], repeats: int, per: float = 1.0) -> list[dict]:
    """Measure every contestant `repeats` times in turns; print and return times, divided by `per`, and ratios."""
    names = list(contestants())
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            times[name].append(measure(name) / per)
    rows = []
    for name, values in times.items():
        ratios = sorted(value / mine for value, mine in zip(values, times["fit"], strict=True))
        ratio, target = statistics.median(ratios), targets.get(name)
        rows.append({"contestant": name, "cpu_seconds": statistics.median(values), "times_fit": ratio})
        rows[-1] |= {"lowest": ratios[0], "highest": ratios[-1], "target": target}
        verdict = f"{target:.2f}  {'PASS' if ratio >= target else 'MISS'}" if target else ""
        print(f"  {name:11} {1000 * statistics.median(values):9.1f} {ratio:8.2f}  {verdict}", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/gpt_step.json")
    parser.add_argument("--only", choices=["fit", "plain loop", "Trainer", "Lightning"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")  # the Trainer's and Lightning's, not ours
    torch.set_num_threads(1)
    if options.only:
        seconds(contestants()[options.only], REGIMES["small"], PROCESS_STEPS)
        return
    if not find_spec("lightning"):
        print("Lightning is not installed and does not take part (pip install lightning)")
    result = {}
    for regime_name, regime in REGIMES.items():
        parameters = sum(p.numel() for p in model_of(regime).parameters())
        tokens = regime.batch * regime.context
        print(f"{regime_name}: {parameters:,} parameters, {tokens} tokens a step")
        print("  contestant    ms/step    x fit  target")
        for train in contestants().values():  # imports and caches, not timed
            seconds(train, regime, 2)

        def measure(name: str, regime: Regime = regime) -> float:
            return seconds(contestants()[name], regime, regime.steps)

        rows = compare(measure, regime.targets, options.repeats, regime.steps)
        result[regime_name] = {"parameters": parameters, "tokens": tokens, "steps": regime.steps, "rows": rows}
    print(f"whole process, small, {PROCESS_STEPS} steps\n  contestant         ms    x fit  target")
    targets = dict.fromkeys(["plain loop", "Trainer", "Lightning"], PROCESS_TARGET)
    rows = compare(process_seconds, targets, max(1, options.repeats // 2))
    result["process"] = {"steps": PROCESS_STEPS, "rows": rows}
    if options.save:
        packages = ("torch", "transformers", "accelerate", "lightning")
        save("gpt_step", {"repeats": options.repeats, **result}, packages=packages)


if __name__ == "__main__":
    main()
