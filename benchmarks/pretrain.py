"""Pre-train the checkpoints that the course ships, on the docstrings of the installed packages.

    python -m benchmarks.pretrain tokenizer      # one tokeniser for both, seconds
    python -m benchmarks.pretrain mini-bert      # masked tokens
    python -m benchmarks.pretrain mini-gpt       # the next token

Each writes a folder in Hugging Face's layout under `bigmodel_lab/checkpoints/`: weights, config, tokeniser, the record
of the run (`training.json`) and a model card. Held-out documents (`Corpus.split`) are never trained on. A run that was
interrupted is resumed from `runs/`.
"""

import argparse
import json
import platform
from dataclasses import asdict
from datetime import date
from importlib import metadata
from math import exp, log
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigmodel_lab import runtime
from bigmodel_lab.data import text
from bigmodel_lab.models.hugging_face import Logits, small_gpt2
from bigmodel_lab.train import Batches, Checkpoint, evaluate, fit, token_loss, warmup_cosine

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "bigmodel_lab" / "checkpoints"
RUNS = ROOT / "runs"
VOCABULARY, CONTEXT, BATCH, SEED = 2048, 128, 32, 0
MASKED = 0.25
HELD_OUT = 250  # blocks to validate on, evenly spread over the held-out documents
RECIPES = {
    "mini-bert": {"epochs": 3, "cycles": 2, "learning_rate": 1e-3, "masked": MASKED},
    "mini-gpt": {"epochs": 2, "cycles": 1, "learning_rate": 2e-3},
}

ARCHITECTURES = {
    "mini-bert": "BERT: 2 layers, width 128, 4 heads, feed-forward 512",
    "mini-gpt": "GPT-2: 4 layers, width 128, 4 heads, feed-forward 512",
}


def tokenizer():
    """Return the tokeniser of both checkpoints; learn it from the training documents if it is not there yet."""
    from transformers import AutoTokenizer

    folder = FOLDER / "mini-gpt"
    if not (folder / "tokenizer.json").exists():
        made = text.bpe(text.corpus().split()[0].texts, VOCABULARY)
        for name in RECIPES:
            made.save_pretrained(FOLDER / name)
    return AutoTokenizer.from_pretrained(folder)


def texts(name: str, part: text.Corpus) -> list[str]:
    """Return documents as the model reads them: GPT as they are, BERT in one line and without names of libraries."""
    return [text.plain(one) for one in part.texts] if name == "mini-bert" else list(part.texts)


def model(name: str, tokens) -> nn.Module:
    """Return the untrained model, in Hugging Face's own class."""
    runtime.seed_everything(SEED)
    if name == "mini-gpt":
        return small_gpt2(tokens, width=128, depth=4, heads=4, context=CONTEXT, dropout=0.0)
    from transformers import BertConfig, BertForMaskedLM

    return BertForMaskedLM(
        BertConfig(
            vocab_size=len(tokens),
            hidden_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=512,
            max_position_embeddings=CONTEXT,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            type_vocab_size=1,
            pad_token_id=tokens.pad_token_id,
        )
    )


class MaskedLoss(nn.Module):
    """BERT's loss of each block, (B,): the output layer, a third of all work, is computed for masked tokens only."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, packed: Tensor) -> Tensor:
        """`packed` (B, 2, T) holds the inputs and the targets of each block."""
        inputs, targets = packed.unbind(1)
        states = self.bert.bert(input_ids=inputs).last_hidden_state  # (B, T, C)
        chosen = targets != -100
        losses = F.cross_entropy(self.bert.cls(states[chosen]), targets[chosen], reduction="none")
        rows = chosen.nonzero()[:, 0]
        sums = torch.zeros(len(packed)).index_add(0, rows, losses)
        return sums * len(packed) / chosen.sum()


def batches(name: str, blocks: Tensor, tokens, seed: int) -> Batches:
    if name == "mini-gpt":
        return Batches(*text.next_token(blocks), batch_size=BATCH, seed=seed)
    mask = text.masking(tokens, MASKED)

    def packed(ids: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return torch.stack(mask(ids, generator), 1), torch.zeros(len(ids))

    return Batches(blocks, torch.zeros(len(blocks)), batch_size=BATCH, seed=seed, augment=packed)


def spread(blocks: Tensor) -> Tensor:
    """Return `HELD_OUT` of the blocks (N, T), at equal distances: documents are in the order of their packages."""
    return blocks[:: max(1, len(blocks) // HELD_OUT)][:HELD_OUT]


def held_out_loss(name: str, trained: nn.Module, blocks: Tensor, tokens) -> float:
    """Nats per (masked) token on held-out blocks, with masks drawn once."""
    if name == "mini-gpt":
        pair = text.next_token(blocks)
    else:
        pair = text.masking(tokens, MASKED)(blocks, torch.Generator().manual_seed(1))
    return evaluate(Logits(trained), Batches(*pair, batch_size=50), loss=token_loss, metrics={})["loss"]


CARD = """---
language: en
license: mit
library_name: transformers
pipeline_tag: {task}
tags: [big-model-lab, docstrings]
---

# {name}

{what} It is small on purpose: it comes with the course's library, so that every lesson has a pre-trained model without
a download.

| | |
|---|---|
| parameters | {parameters:,} |
| architecture | {architecture} |
| vocabulary | {vocabulary:,} byte-pair tokens, learned from the training documents |
| context | {context} tokens |
| trained on | {documents:,} docstrings, {tokens:,} tokens seen ({epochs} passes) |
| data hash | corpus {corpus}, training part {train} |
| held out | {test_documents:,} docstrings, from other source files (hash {test}) |
| loss on held-out text | {loss:.3f} nats a {unit}, perplexity {perplexity:.1f} (a uniform guess: {uniform:.2f} nats) |
| seed, date | {seed}, {date} |
| time | {minutes:.0f} minutes on one thread of a busy machine |
| versions | {versions} |

## Use

```python
from transformers import AutoTokenizer, {auto}
from bigmodel_lab.models import pretrained

folder = pretrained.folder("{name}")
tokenizer, model = AutoTokenizer.from_pretrained(folder), {auto}.from_pretrained(folder)
```

For teaching and for experiments of minutes. {limits}

## Training data

Docstrings of the packages below, harvested by `bigmodel_lab.data.text.corpus`, near-duplicates dropped.
One source file in ten is held out. The packages have licences of their own (BSD, Apache 2.0, PSF and the like); the
model can repeat short stretches of their text.

| package | version | documents | words |
|---|---|---|---|
{packages}

## Again

```
{command}
```

The record of the run, with its loss curve, is `training.json`.
"""

WORDS = {
    "mini-bert": {
        "task": "fill-mask",
        "auto": "AutoModelForMaskedLM",
        "unit": "masked token",
        "what": "A BERT that fills in masked tokens of docstrings ({masked:.0%} of them hidden in training).",
        "limits": 'Texts were put on one line and names of libraries replaced by the word "library", so that a task '
        "about libraries can be learned from it honestly. It knows no other text than docstrings.",
    },
    "mini-gpt": {
        "task": "text-generation",
        "auto": "AutoModelForCausalLM",
        "unit": "token",
        "what": "A GPT-2 that continues docstrings.",
        "limits": "What it writes looks like documentation and is not true. It knows no other text than docstrings.",
    },
}


def card(record: dict) -> str:
    """Return the model card of a run, from its record alone."""
    words, recipe = WORDS[record["name"]], record["recipe"]
    rows = (f"| {o['package']} | {o['version']} | {o['documents']:,} | {o['tokens']:,} |" for o in record["manifest"])
    fields = words | {
        "name": record["name"],
        "what": words["what"].format(**recipe),
        "parameters": record["parameters"],
        "architecture": record["architecture"],
        "vocabulary": recipe["vocabulary"],
        "context": recipe["context"],
        "documents": record["training_documents"]["documents"],
        "tokens": record["tokens_seen"],
        "epochs": recipe["epochs"] * recipe["cycles"],
        "corpus": record["corpus_hash"],
        "train": record["training_documents"]["hash"],
        "test": record["held_out_documents"]["hash"],
        "test_documents": record["held_out_documents"]["documents"],
        "loss": record["held_out_loss"],
        "perplexity": record["perplexity"],
        "uniform": record["uniform_loss"],
        "seed": record["seed"],
        "date": record["date"],
        "minutes": record["seconds"] / 60,
        "versions": ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
        "packages": "\n".join(rows),
        "command": record["command"],
    }
    return CARD.format(**fields)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pretrain", description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=["tokenizer", *RECIPES])
    parser.add_argument("--compile", action="store_true", help="by torch.compile: faster after half a minute")
    args = parser.parse_args()
    tokens = tokenizer()
    if args.name != "tokenizer":
        run(args.name, tokens, compiled=args.compile)


def run(name: str, tokens, *, compiled: bool) -> None:
    made, recipe = text.corpus(), RECIPES[name]
    train, test = made.split()
    network = model(name, tokens)
    held_out = spread(text.blocks(texts(name, test), tokens, CONTEXT + (name == "mini-gpt")))
    step = Logits(network) if name == "mini-gpt" else MaskedLoss(network)
    blocks = text.blocks(texts(name, train), tokens, CONTEXT + (name == "mini-gpt"))
    print(f"{made}\n{blocks.numel():,} training tokens an epoch, {runtime.describe()}", flush=True)
    if compiled:
        (network.transformer if name == "mini-gpt" else network.bert).compile()
    losses, seconds = [], 0.0
    for cycle in range(recipe["cycles"]):  # warm restarts: Loshchilov & Hutter (2017), arXiv 1608.03983
        history = fit(
            step,
            batches(name, blocks, tokens, SEED + cycle),
            epochs=recipe["epochs"],
            learning_rate=recipe["learning_rate"],
            schedule=warmup_cosine(warmup=0.05, floor=0.05),
            loss=token_loss if name == "mini-gpt" else lambda losses, _: losses.mean(),
            clip_norm=1.0,
            checkpoint=Checkpoint(RUNS / name / f"cycle-{cycle + 1}", every_steps=100),
        )
        losses += history.step_losses
        seconds += sum(history.column("seconds"))
    loss = held_out_loss(name, network, held_out, tokens)
    every = max(1, len(losses) // 200)
    record = {
        "name": name,
        "command": f"python -m benchmarks.pretrain {name}",
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, threads: {torch.get_num_threads()}",
        "seed": SEED,
        "corpus_hash": made.hash,
        "manifest": [asdict(origin) for origin in made.manifest],
        "training_documents": {"hash": train.hash, "documents": len(train), "tokens": blocks.numel()},
        "held_out_documents": {"hash": test.hash, "documents": len(test)},
        "architecture": ARCHITECTURES[name],
        "versions": {key: metadata.version(key) for key in ("torch", "transformers", "tokenizers")},
        "parameters": sum(p.numel() for p in network.parameters()),
        "recipe": recipe | {"batch": BATCH, "context": CONTEXT, "vocabulary": len(tokens)},
        "tokens_seen": blocks.numel() * recipe["epochs"] * recipe["cycles"],
        "seconds": round(seconds),
        "held_out_loss": round(loss, 4),
        "uniform_loss": round(log(len(tokens)), 4),
        "perplexity": round(exp(loss), 2),
        "curve": {
            "every_steps": every,
            "train_loss": [
                round(sum(losses[i : i + every]) / len(losses[i : i + every]), 4) for i in range(0, len(losses), every)
            ],
        },
    }
    network.save_pretrained(FOLDER / name)
    (FOLDER / name / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (FOLDER / name / "README.md").write_text(card(record), encoding="utf-8")
    print(f"{name}: held-out loss {loss:.4f}")


if __name__ == "__main__":
    main()
