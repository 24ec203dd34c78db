"""On a GPU: tokens a second and model-FLOPs utilisation of GPT-2's 124 M parameters in bfloat16, compiled, by `fit`.

Beside it Hugging Face's Trainer on the same model, batch and steps, compiled too, and the peak that a large product of
two matrices reaches on this GPU. Each contestant has a process of its own; compiling and the first steps do not count.
Utilisation is (tokens a second) x (FLOPs a token) / peak, with 6 N + 12 L C T FLOPs a token, as in PaLM (Chowdhery et
al. 2022, arXiv 2204.02311, appendix B) and nanoGPT: N parameters without positions, L blocks, C width, T context; the
half of attention that a causal mask leaves out is counted.

    python -m benchmarks.gpt_gpu          # saves benchmarks/results/gpt_gpu.json; without a GPU it says so and ends
    python -m benchmarks.gpt_gpu --tiny   # the same code with a tiny model on a CPU, to see that it works
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from benchmarks.gpt_step import Pairs, WithLoss
from benchmarks.saved import ROOT, save

TARGET = 0.5  # of the measured peak


@dataclass(frozen=True, kw_only=True)
class Size:
    vocabulary: int = 50304  # GPT-2's 50257, filled up to a multiple of 64
    context: int = 1024
    width: int = 768
    heads: int = 12
    depth: int = 12
    batch: int = 16
    warm: int = 10  # steps before the clock starts
    steps: int = 60
    side: int = 8192  # of the matrices that measure the peak
    backend: str = "inductor"


TINY = Size(
    vocabulary=128, context=32, width=32, heads=2, depth=2, batch=2, warm=2, steps=4, side=256, backend="aot_eager"
)


def model_of(size: Size) -> nn.Module:
    from bigmodel_lab.models.transformer import Decoder, TransformerConfig

    torch.manual_seed(0)
    names = ("vocabulary", "context", "width", "heads", "depth")
    return Decoder(TransformerConfig(**{name: getattr(size, name) for name in names}))


def blocks_of(size: Size, steps: int) -> tuple[Tensor, Tensor]:
    count = steps * size.batch
    stream = torch.randint(size.vocabulary, (count * size.context + 1,), generator=torch.Generator().manual_seed(1))
    return stream[:-1].view(count, -1), stream[1:].view(count, -1)


def flops_per_token(model: nn.Module, size: Size) -> int:
    count = sum(p.numel() for p in model.parameters()) - size.context * size.width
    return 6 * count + 12 * size.depth * size.width * size.context


def wait() -> float:
    """Wait for the GPU; return the time."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def ours(model: nn.Module, size: Size, compiled: bool) -> float:
    """Seconds for `size.steps` steps of `fit`."""
    from bigmodel_lab.train import Batches, fit, token_loss

    loss = token_loss
    if compiled:
        model, loss = (torch.compile(part, backend=size.backend) for part in (model, token_loss))

    def train(steps: int) -> float:
        batches = Batches(*blocks_of(size, steps), batch_size=size.batch)
        start = wait()
        fit(model, batches, epochs=1, loss=loss, clip_norm=1.0, learning_rate=3e-4, progress=False)
        return wait() - start

    train(size.warm)
    return train(size.steps)


def trainer(model: nn.Module, size: Size, compiled: bool) -> float:
    """Seconds for `size.steps` steps of the Trainer, after as many as warm it up."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **rest) -> None:
            if state.global_step in (size.warm, size.warm + size.steps):
                times.append(wait())

    cpu = not torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=size.warm + size.steps,
            per_device_train_batch_size=size.batch,
            learning_rate=3e-4,
            max_grad_norm=1.0,
            bf16=True,
            torch_compile=compiled,
            torch_compile_backend=size.backend if compiled else None,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=cpu,
            dataloader_pin_memory=not cpu,
        )
        data = Pairs(*blocks_of(size, size.warm + size.steps))
        Trainer(WithLoss(model), arguments, train_dataset=data, callbacks=[Clock()]).train()
    return times[1] - times[0]


def peak(size: Size, repeats: int = 20) -> float:
    """FLOPs a second of a product of two square bfloat16 matrices, the best of several runs."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a, b = (torch.randn(size.side, size.side, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(5):
        start = wait()
        for _ in range(repeats):
            a @ b
        best = min(best, wait() - start)
    return 2 * size.side**3 * repeats / best


CONTESTANTS = {"fit, compiled": (ours, True), "fit": (ours, False), "Trainer, compiled": (trainer, True)}


def one(name: str, size: Size) -> dict[str, float]:
    """Measure one contestant in this process."""
    warnings.filterwarnings("ignore")
    torch.set_float32_matmul_precision("high")
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16"
    train, compiled = CONTESTANTS[name]
    model = model_of(size)
    flops = flops_per_token(model, size)
    speed = size.steps * size.batch * size.context / train(model, size, compiled)
    memory = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0
    return {"tokens_per_second": speed, "flops_per_second": speed * flops, "gib": memory}


def measure(name: str, tiny: bool) -> dict[str, float]:
    """Measure one contestant, or the peak, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.gpt_gpu", "--only", name, *(["--tiny"] if tiny else [])]
    return json.loads(subprocess.check_output(command, cwd=ROOT, text=True).splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="a tiny model, on a CPU if need be; nothing is saved")
    parser.add_argument("--batch", type=int, help="texts a step")
    parser.add_argument("--only", choices=["peak", *CONTESTANTS], help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = TINY if options.tiny else Size(batch=options.batch or Size.batch)
    if not torch.cuda.is_available() and not options.tiny:
        print("no GPU here, so nothing is measured; --tiny runs the same code with a tiny model on the CPU")
        return
    if options.only:
        print(json.dumps({"flops_per_second": peak(size)} if options.only == "peak" else one(options.only, size)))
        return
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU, which tells nothing about a GPU"
    highest = measure("peak", options.tiny)["flops_per_second"]
    print(f"{name}: {highest / 1e12:.3g} TFLOP/s in a product of matrices, bfloat16\n")
    print("contestant           tokens/s  of peak  GiB  x Trainer  target")
    rows = {contestant: measure(contestant, options.tiny) for contestant in CONTESTANTS}
    for contestant, row in rows.items():
        row["of_peak"] = row["flops_per_second"] / highest
        row["times_trainer"] = row["tokens_per_second"] / rows["Trainer, compiled"]["tokens_per_second"]
        asked = contestant == "fit, compiled" and not options.tiny
        verdict = f"{TARGET:.0%}  {'PASS' if row['of_peak'] >= TARGET else 'MISS'}" if asked else ""
        numbers = f"{row['tokens_per_second']:9.0f} {row['of_peak']:8.1%} {row['gib']:4.1f}"
        print(f"{contestant:18} {numbers} {row['times_trainer']:10.2f}  {verdict}")
    if not options.tiny:
        result = {"size": asdict(size), "peak_flops_per_second": highest, "contestants": rows}
        save("gpt_gpu", result, machine=name, packages=("torch", "transformers", "accelerate"))


if __name__ == "__main__":
    main()
