"""What each way to train or use a model for less costs in accuracy and time: one small BERT, 400 labels, 78 steps.

    python -m benchmarks.efficient_training tune      # learning rates, on a validation part: a CPU-minute
    python -m benchmarks.efficient_training time      # CPU time of a step and of a prediction; torch.compile: a minute
    python -m benchmarks.efficient_training           # accuracy over five seeds: four minutes, resumed where it stopped

The task: which of four libraries does a docstring come from (names blotted out)? 4 000 texts to draw labelled ones
from, 600 to choose learning rates on, 828 test texts from other source files. Each seed draws other labelled texts,
another head and another order. The model is the checkpoint `mini-bert` with a linear layer on the mean of its last
states.

- "plain": attention written out, float32, every weight trained; "bf16": the same under autocast; "LoRA": PEFT's, rank 8
  in every linear layer of the body; "probe": the body frozen; "together": LoRA, bfloat16, fused attention, checkpointed
  layers, and four batches of 8 in place of one of 32.
- students, a mean of word vectors with a linear head, 780 steps each: "student alone" from the 400 labels; "soft, same
  texts": from the plain model's logits on those; "soft, all texts" and "hard, all texts": from its logits, or only the
  class it names, on the 4 000; "true, all texts": from 4 000 true labels, which the budget does not have.
- the plain model afterwards, with no further training: the smallest weights of all linear layers set to 0 ("pruned"),
  or as many drawn by lot ("pruned by lot"); every matrix rounded to so many bits, a scale per row ("bits").

Time is CPU time, the median of repeats that take turns; it depends on the machine. Accuracy hardly does.
Dimension letters: N texts, T tokens, K classes.
"""

import argparse
import copy
import json
import time
import warnings
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from benchmarks.saved import ROOT, save
from bigmodel_lab import runtime, train
from bigmodel_lab.data import text
from bigmodel_lab.models import pretrained
from bigmodel_lab.models.hugging_face import quiet

PARTIAL = ROOT / "runs" / "efficient_training.json"  # what is done already
LABELS, POOL, LENGTH, CLASSES = 400, 4000, 64, 4
BATCH, EPOCHS, STUDENT_STEPS, TEMPERATURE = 32, 6, 780, 2.0
RATES = {"plain": 5e-4, "LoRA": 3e-3, "probe": 3e-2, "student": 1e-2}  # by `tune`
TRIED = {"plain": (2e-4, 5e-4, 1e-3), "LoRA": (1e-3, 3e-3, 6e-3), "probe": (3e-3, 1e-2, 3e-2)}
SEEDS, T_95 = (0, 1, 2, 3, 4), 2.776  # Student's t for a 95 % interval over five seeds
SPARSITIES, BITS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95), (8, 6, 5, 4, 3, 2)
LORA = {"r": 8, "lora_alpha": 16, "target_modules": ["query", "key", "value", "dense"]}
RECIPES = ("plain", "bf16", "LoRA", "probe", "together")


class Pooled(nn.Module):
    """A linear layer on the mean of a BERT's last states over a text: ids (N, T) -> logits (N, K)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(body.config.hidden_size, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        mask = (ids != 0).long()  # (N, T)
        states = self.body(ids, attention_mask=mask).last_hidden_state
        return self.head((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


class Bag(nn.Module):
    """The mean of a text's word vectors, and a linear head: ids (N, T) -> logits (N, K)."""

    def __init__(self, vocabulary: int, width: int = 32) -> None:
        super().__init__()
        self.vectors, self.head = nn.Embedding(vocabulary, width, padding_idx=0), nn.Linear(width, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        there = (ids != 0)[..., None]  # (N, T, 1)
        return self.head((self.vectors(ids) * there).sum(1) / there.sum(1))


class Autocast(nn.Module):
    """A model whose matrix products are in bfloat16; its weights and its outputs are float32."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        with torch.autocast(ids.device.type, dtype=torch.bfloat16):
            return self.model(ids).float()


class Checkpointed(nn.Module):
    """A layer that keeps its inputs only, and computes the rest again when the gradient asks for it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *inputs: Tensor, **options: object) -> Tensor:
        return checkpoint(self.layer, *inputs, use_reentrant=False, **options)


class Data:
    """Ids (N, T) and labels (N,) by part: "pool", "tune", "test"; and the size of the vocabulary."""

    def __init__(self) -> None:
        from transformers import AutoTokenizer

        tokens, self.corpus = AutoTokenizer.from_pretrained(pretrained.folder("mini-bert")), text.corpus()
        fitting, test = text.which_library(self.corpus, classes=CLASSES)
        parts = {"pool": fitting[:POOL], "tune": fitting[POOL:], "test": test}
        self.ids = {name: text.encode(tokens, part.texts, LENGTH, truncate=True) for name, part in parts.items()}
        self.labels = {name: part.labels for name, part in parts.items()}
        self.vocabulary = len(tokens)


# --- models ---------------------------------------------------------------------------------------------------------


def bert(recipe: str = "plain", *, attention: str = "eager") -> nn.Module:
    """The model of a recipe before training; head and adapters come from PyTorch's global generator."""
    from transformers import BertModel

    together = recipe == "together"
    folder, attention = pretrained.folder("mini-bert"), "sdpa" if together else attention
    with quiet():
        model = Pooled(BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation=attention))
    if recipe == "checkpointing" or together:
        model.body.encoder.layer = nn.ModuleList(Checkpointed(layer) for layer in model.body.encoder.layer)
    if recipe == "LoRA" or together:
        from peft import LoraConfig, get_peft_model

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
            model.body = get_peft_model(model.body, LoraConfig(**LORA))
    if recipe == "probe":
        model.body.requires_grad_(False)
    return Autocast(model) if recipe == "bf16" or together else model


def fitted(
    model: nn.Module, x: Tensor, y: Tensor, *, rate: float, epochs: int, seed: int, loss: Callable, accumulate: int = 1
) -> nn.Module:
    batches = train.Batches(x, y, batch_size=BATCH // accumulate, seed=seed)
    recipe = {"schedule": train.warmup_cosine(warmup=0.1), "clip_norm": 1.0, "progress": False}
    train.fit(model, batches, epochs=epochs, learning_rate=rate, loss=loss, accumulate=accumulate, **recipe)
    return model


def drawn(seed: int) -> Tensor:
    """Which texts of the pool are labelled, (LABELS,)."""
    return torch.randperm(POOL, generator=torch.Generator().manual_seed(seed))[:LABELS]


def trained(data: Data, recipe: str, seed: int, rate: float | None = None) -> nn.Module:
    runtime.seed_everything(seed)
    rows, kind = drawn(seed), {"bf16": "plain", "together": "LoRA"}.get(recipe, recipe)
    return fitted(
        bert(recipe),
        data.ids["pool"][rows],
        data.labels["pool"][rows],
        rate=rate or RATES[kind],
        epochs=EPOCHS,
        seed=seed,
        loss=F.cross_entropy,
        accumulate=4 if recipe == "together" else 1,
    )


def soft_loss(outputs: Tensor, teacher: Tensor) -> Tensor:
    """T² · KL(teacher ‖ student) of the probabilities at temperature T: Hinton et al. (2015), section 2."""
    student, target = (outputs / TEMPERATURE).log_softmax(1), (teacher / TEMPERATURE).softmax(1)
    return TEMPERATURE**2 * F.kl_div(student, target, reduction="batchmean")


def students(data: Data, teacher: nn.Module, seed: int) -> dict[str, nn.Module]:
    rows, x, y = drawn(seed), data.ids["pool"], data.labels["pool"]
    logits = train.predict(teacher, x)
    arms = {
        "student alone": (x[rows], y[rows], F.cross_entropy),
        "soft, same texts": (x[rows], logits[rows], soft_loss),
        "soft, all texts": (x, logits, soft_loss),
        "hard, all texts": (x, logits.argmax(1), F.cross_entropy),
        "true, all texts": (x, y, F.cross_entropy),
    }
    made = {}
    for name, (inputs, targets, loss) in arms.items():
        runtime.seed_everything(seed)
        epochs = round(STUDENT_STEPS / -(-len(inputs) // BATCH))
        student = Bag(data.vocabulary)
        made[name] = fitted(student, inputs, targets, rate=RATES["student"], epochs=epochs, seed=seed, loss=loss)
    return made


@torch.no_grad()
def pruned(model: nn.Module, sparsity: float, *, lot: int | None = None) -> nn.Module:
    """A copy whose linear layers of the body have the share `sparsity` of smallest weights, or of any, at 0."""
    model = copy.deepcopy(model)
    weights = [part.weight for part in model.body.modules() if isinstance(part, nn.Linear)]
    made = torch.Generator().manual_seed(lot or 0)
    sizes = [w.abs() if lot is None else torch.rand(w.shape, generator=made) for w in weights]
    threshold = torch.cat([size.flatten() for size in sizes]).quantile(sparsity)
    for weight, size in zip(weights, sizes, strict=True):
        weight[size <= threshold] = 0.0
    return model


@torch.no_grad()
def rounded(model: nn.Module, bits: int) -> nn.Module:
    """A copy in which every matrix is a whole number of up to `bits` bits times a scale per row."""
    model = copy.deepcopy(model)
    for weight in model.parameters():
        if weight.ndim == 2:
            scale = weight.abs().amax(1, keepdim=True).clamp(min=1e-12) / (2 ** (bits - 1) - 1)
            weight.copy_((weight / scale).round() * scale)
    return model


# --- measurements ---------------------------------------------------------------------------------------------------


def accuracy(model: nn.Module, data: Data, part: str = "test") -> float:
    right = train.predict(model, data.ids[part]).argmax(1) == data.labels[part]
    return round(right.float().mean().item(), 4)


def quality(data: Data, seed: int) -> dict[str, float]:
    """Accuracy on the test texts of everything that this script trains or changes."""
    made = {recipe: trained(data, recipe, seed) for recipe in RECIPES}
    found = {recipe: accuracy(model, data) for recipe, model in made.items()}
    distilled = students(data, made["plain"], seed)
    found |= {name: accuracy(student, data) for name, student in distilled.items()}
    found["soft, all texts, 8 bits"] = accuracy(rounded(distilled["soft, all texts"], 8), data)
    for share in SPARSITIES:
        found[f"pruned {share}"] = accuracy(pruned(made["plain"], share), data)
        found[f"pruned by lot {share}"] = accuracy(pruned(made["plain"], share, lot=seed + 1), data)
    for bits in BITS:
        found[f"bits {bits}"] = accuracy(rounded(made["plain"], bits), data)
    return found


def gradient(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, int]:
    """The gradient of the loss as one vector, and the bytes kept for the backward pass besides the weights."""
    held = {p.untyped_storage().data_ptr(): 0 for p in model.parameters()}

    def note(tensor: Tensor) -> Tensor:
        held.setdefault(tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes())
        return tensor

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = F.cross_entropy(model(x), y)
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()]), sum(held.values())


def in_turn(contestants: dict[str, Callable[[], object]], repeats: int = 9) -> dict[str, float]:
    """Median CPU-seconds of each, after a call that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(repeats + 1):
        for name, call in contestants.items():
            begun = time.process_time()
            call()
            if turn:
                seconds[name].append(time.process_time() - begun)
    return {name: round(median(values), 5) for name, values in seconds.items()}


def timings(data: Data) -> dict:
    """CPU time of one training step of 32 texts, AdamW included, and of predicting 128 texts."""
    runtime.seed_everything(0)
    x, y = data.ids["pool"][:BATCH], data.labels["pool"][:BATCH]

    def stepping(model: nn.Module, accumulate: int = 1) -> Callable[[], None]:
        trainable = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trainable, lr=1e-6, fused=True)
        model.train()

        def step() -> None:
            optimizer.zero_grad()
            for inputs, targets in zip(x.chunk(accumulate), y.chunk(accumulate), strict=True):
                (F.cross_entropy(model(inputs), targets) / accumulate).backward()
            optimizer.step()

        return step

    steps = {name: stepping(bert(name)) for name in ("plain", "bf16", "checkpointing", "LoRA", "probe")}
    steps["SDPA"] = stepping(bert(attention="sdpa"))
    steps["accumulation"] = stepping(bert(), accumulate=4)
    steps["together"] = stepping(bert("together"), accumulate=4)
    model = bert(attention="sdpa")
    twin = torch.compile(copy.deepcopy(model))
    begun = time.perf_counter()
    gradients, bytes_kept = zip(*(gradient(one, x, y) for one in (twin, model)), strict=True)
    warm = time.perf_counter() - begun
    apart = (gradients[0] - gradients[1]).norm() / gradients[1].norm()
    result = {
        "step": in_turn(steps | {"compile": stepping(twin)}),
        "compile_warm_up_seconds": round(warm, 1),
        "compile_gradient_apart": apart.item(),
        "compile_kept_bytes": bytes_kept[0],
        "SDPA_kept_bytes": bytes_kept[1],
    }
    model, student = bert(attention="sdpa").eval(), Bag(data.vocabulary).eval()
    sparse = pruned(model, 0.9)
    with torch.no_grad():
        result["predict"] = in_turn(
            {
                "plain": lambda: model(data.ids["test"][:128]),
                "student": lambda: student(data.ids["test"][:128]),
                "pruned 0.9": lambda: sparse(data.ids["test"][:128]),
            }
        )
    capability = torch.backends.cpu.get_cpu_capability()
    return result | {"cpu": capability, "avx512_bf16": bool(torch.cpu._is_avx512_bf16_supported())}


def interval(values: list[float], tests: int) -> dict:
    """Mean, its 95 % interval over seeds, and where one more run falls, other test texts included."""
    at = torch.tensor(values, dtype=torch.float64)
    mean, spread, n = at.mean().item(), at.std().item(), len(values)
    half = T_95 * spread / n**0.5
    one = T_95 * (spread**2 * (1 + 1 / n) + 0.25 / tests) ** 0.5
    return {
        "mean": round(mean, 4),
        "interval": [round(mean - half, 4), round(mean + half, 4)],
        "one_run": [round(mean - one, 4), round(mean + one, 4)],
        "values": [round(value, 4) for value in values],
    }


def tune(data: Data) -> dict:
    """Accuracy on the validation part for each learning rate, with labels of a seed that is not used again."""
    return {
        recipe: {str(rate): accuracy(trained(data, recipe, 100, rate), data, "tune") for rate in rates}
        for recipe, rates in TRIED.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", nargs="?", choices=["tune", "time", "all"], default="all")
    what, data = parser.parse_args().what, Data()
    done = json.loads(PARTIAL.read_text()) if PARTIAL.exists() else {"accuracy": {}}
    PARTIAL.parent.mkdir(exist_ok=True)
    if what != "all":
        done[what] = {"tune": tune, "time": timings}[what](data)
        print(done[what])
        PARTIAL.write_text(json.dumps(done))
        return
    for seed in map(str, SEEDS):
        if seed not in done["accuracy"]:
            begun = time.process_time()
            done["accuracy"][seed] = quality(data, int(seed))
            done["seconds"] = done.get("seconds", 0) + time.process_time() - begun
            print(seed, done["accuracy"][seed], round(time.process_time() - begun), flush=True)
            PARTIAL.write_text(json.dumps(done))
    tests = len(data.labels["test"])
    runs = [done["accuracy"][str(seed)] for seed in SEEDS]
    result = {
        "question": "accuracy and CPU time of one small BERT, trained and used with less",
        "corpus_hash": data.corpus.hash,
        "seeds": list(SEEDS),
        "recipe": {"labels": LABELS, "batch": BATCH, "epochs": EPOCHS, "length": LENGTH, "lora": LORA},
        "student": {"steps": STUDENT_STEPS, "temperature": TEMPERATURE},
        "rates": RATES,
        "tuning": done.get("tune"),
        "time": done.get("time"),
        "test_texts": tests,
        "accuracy": {name: interval([run[name] for run in runs], tests) for name in runs[0]},
        "difference": {name: interval([run[name] - run["plain"] for run in runs], tests) for name in runs[0]},
        "cpu_seconds": round(done["seconds"]),
    }
    packages = ("torch", "transformers", "peft")
    save("efficient_training", result, machine="2 CPU cores, one thread", packages=packages)


if __name__ == "__main__":
    main()
