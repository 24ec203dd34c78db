"""Five sizes of one GPT on the docstring corpus: the loss against size, against tokens, and on few documents.

A decoder of two blocks, 16 to 96 numbers wide: 6 thousand to 220 thousand parameters in its blocks (N, embeddings not
counted). A byte-pair encoding of 512 tokens, texts of 64 tokens, batches of 16, AdamW with a warm-up and a cosine to
the end of *this* run: each number of tokens is a run of its own. All sizes read the same texts, each once; the seed
sets the first weights and the order. The learning rate falls with the width, `rate()`, and so do the first weights:
GPT-2's standard deviation of 0.02 is for 768 numbers, and models this narrow lose hundreds of steps to it. Both were
found by a coarse search with seed 0.

- `runs`: five sizes, 2^19 tokens, every seed; and other numbers of tokens with the first seed. Held-out loss in nats
  per token on documents from other source files; with 2^19 tokens also by kind of token and by place in the text.
- `few`: 240 steps on few documents, again and again: loss on those documents and held out, ten times on the way. Three
  sizes and every seed on 32 documents; on other numbers of documents the smallest and the largest, the first seed.

About 6 CPU-minutes. The file is written after each run.

    python -m benchmarks.model_sizes [--seeds 3]
"""

import argparse
import time
from itertools import cycle, islice

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.saved import save
from bigmodel_lab import data, train
from bigmodel_lab.models import transformer

WIDTHS, DEPTH, HEADS, VOCABULARY, LENGTH, BATCH = (16, 24, 40, 64, 96), 2, 4, 512, 64, 16
TOKENS = 2**19
# width -> powers of two of other numbers of tokens, with the first seed only
OTHERS = {16: (17, 18, 20, 21), 24: (17, 18, 20), 40: (17, 18), 64: (17, 18), 96: (17, 18)}
FEW_WIDTHS, FEW, DOCUMENTS, STEPS, LOOKS = (16, 40, 96), 32, (8, 64, 128), 240, 10
HELD_OUT = 1024  # blocks
KINDS = ("space", "punctuation", "digit", "word, first part", "word, later part", "end of text")
GROUPS = ((0, 1), (1, 2), (2, 4), (4, 8), (8, 16), (16, 32), (32, 64))  # places in the text: tokens before the target


def rate(width: int) -> float:
    """The learning rate of a model `width` numbers wide."""
    return 0.014 * (16 / width) ** (2 / 3)


class Texts:
    """The corpus in a fixed random order, cut into blocks."""

    def __init__(self) -> None:
        found = data.text.corpus()
        self.hash = found.hash
        learned, unseen = found.split()
        self.texts, self.unseen = shuffled(learned.texts), shuffled(unseen.texts)
        self.tokenizer = data.text.bpe(self.texts[:1000], VOCABULARY)
        self.held_out = data.text.next_token(self.blocks(self.unseen[:300])[:HELD_OUT])

    def blocks(self, texts: list[str]) -> Tensor:
        return data.text.blocks(texts, self.tokenizer, LENGTH + 1)

    def kinds(self) -> Tensor:
        """The kind of each token of the vocabulary, as an index into KINDS."""
        names = [self.tokenizer.decode([i]) for i in range(len(self.tokenizer))]
        special = set(self.tokenizer.all_special_ids)
        return torch.tensor([KINDS.index("end of text" if i in special else kind(n)) for i, n in enumerate(names)])


def shuffled(texts: tuple[str, ...]) -> list[str]:
    """The texts in an order that does not depend on the run's seed."""
    return [texts[i] for i in torch.randperm(len(texts), generator=torch.Generator().manual_seed(0)).tolist()]


def kind(token: str) -> str:
    """Sort a token by its characters."""
    inner = token.strip()
    if not inner:
        return "space"
    if not any(c.isalnum() for c in inner):
        return "punctuation"
    if any(c.isdigit() for c in inner):
        return "digit"
    return "word, first part" if token[0].isspace() else "word, later part"


def decoder(width: int, seed: int) -> transformer.Decoder:
    """A GPT with first weights that fit its width: standard deviation 1 / (2 √width)."""
    torch.manual_seed(seed)
    model = transformer.Decoder(
        transformer.TransformerConfig(vocabulary=VOCABULARY, context=LENGTH, width=width, heads=HEADS, depth=DEPTH)
    )
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 2:
                p.mul_(0.5 * width**-0.5 / 0.02)  # drawn with 0.02
    return model


RECIPE = {"schedule": train.warmup_cosine(warmup=0.1), "clip_norm": 1.0, "loss": train.token_loss, "progress": False}


def token_losses(model: transformer.Decoder, inputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of each token, (N, T)."""
    logits = train.predict(model, inputs, batch_size=64)
    return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")


def run(texts: Texts, stream: Tensor, width: int, tokens: int, seed: int) -> dict:
    """Train one size on `tokens` tokens once; return its losses."""
    model, start = decoder(width, seed), time.process_time()
    batches = train.Batches(*data.text.next_token(stream[: tokens // LENGTH]), batch_size=BATCH, seed=seed)
    train.fit(model, batches, epochs=1, learning_rate=rate(width), **RECIPE)
    seconds = time.process_time() - start
    losses, targets = token_losses(model, *texts.held_out), texts.held_out[1]
    row = {
        "width": width,
        "blocks": sum(p.numel() for p in model.stack.blocks.parameters()),
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens": tokens,
        "seed": seed,
        "loss": round(losses.mean().item(), 4),
        "cpu_seconds": round(seconds, 1),
    }
    if tokens == TOKENS:
        kinds = texts.kinds()[targets]
        lot = torch.randint(len(KINDS), targets.shape, generator=torch.Generator().manual_seed(0))  # the control
        row["by_kind"] = {name: round(losses[kinds == i].mean().item(), 4) for i, name in enumerate(KINDS)}
        row["by_lot"] = [round(losses[lot == i].mean().item(), 4) for i in range(len(KINDS))]
        row["by_place"] = [round(losses[:, a:b].mean().item(), 4) for a, b in GROUPS]
    return row


class Visits:
    """Random batches of `blocks` without end; each iteration gives the next `count`."""

    def __init__(self, blocks: Tensor, count: int, seed: int) -> None:
        self.inputs, self.targets = data.text.next_token(blocks)
        self.count, self.rows = count, self._rows(torch.Generator().manual_seed(seed))

    def _rows(self, generator: torch.Generator):
        for _ in cycle([None]):
            yield from torch.randperm(len(self.inputs), generator=generator).tolist()

    def __len__(self) -> int:
        return self.count

    def __iter__(self):
        for _ in range(self.count):
            rows = list(islice(self.rows, BATCH))
            yield self.inputs[rows], self.targets[rows]


def run_few(texts: Texts, width: int, documents: int, seed: int) -> dict:
    """Train one size for STEPS steps on the first `documents` documents; return its losses on the way."""
    blocks = texts.blocks(texts.texts[:documents])
    model, start = decoder(width, seed), time.process_time()
    validation = train.Batches(*(part[:256] for part in texts.held_out), batch_size=64)
    history = train.fit(
        model,
        Visits(blocks, STEPS // LOOKS, seed),
        epochs=LOOKS,
        learning_rate=rate(width),
        validation=validation,
        metrics={},
        **RECIPE,
    )
    return {
        "width": width,
        "documents": documents,
        "tokens": blocks[:, 1:].numel(),
        "seed": seed,
        "train": [round(row["train_loss"], 4) for row in history.rows],
        "held_out": [round(row["validation_loss"], 4) for row in history.rows],
        "final": round(token_losses(model, *texts.held_out).mean().item(), 4),
        "cpu_seconds": round(time.process_time() - start, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    seeds = list(range(parser.parse_args().seeds))
    texts, start = Texts(), time.process_time()
    stream = texts.blocks(texts.texts[:5000])
    plan = [(width, TOKENS, seed) for seed in seeds for width in WIDTHS]
    first, plan = plan[: len(WIDTHS)], plan[len(WIDTHS) :]
    others = [(width, 2**power, seeds[0]) for width, powers in OTHERS.items() for power in powers]
    few = [(width, FEW, seed) for seed in seeds for width in FEW_WIDTHS]
    few += [(width, n, seeds[0]) for n in DOCUMENTS for width in FEW_WIDTHS[::2]]
    recipe = {"depth": DEPTH, "heads": HEADS, "vocabulary": VOCABULARY, "length": LENGTH, "batch_size": BATCH}
    recipe |= {"learning_rates": {str(w): round(rate(w), 6) for w in WIDTHS}, "few_steps": STEPS}
    result = {"question": "held-out loss of a GPT against its size, tokens and documents", "corpus": texts.hash}
    result |= {"seeds": seeds, "recipe": recipe, "tokens": TOKENS, "kinds": KINDS, "places": GROUPS}
    result |= {"runs": [], "few": []}
    jobs = [("runs", run, texts, stream, *one) for one in first]
    jobs += [("few", run_few, texts, *one) for one in few[: len(FEW_WIDTHS)]]
    jobs += [("runs", run, texts, stream, *one) for one in others + plan]
    jobs += [("few", run_few, texts, *one) for one in few[len(FEW_WIDTHS) :]]
    for name, function, *arguments in jobs:
        row = function(*arguments)
        result[name].append(row)
        print(row, flush=True)
        result["cpu_seconds"] = round(time.process_time() - start)
        save("model_sizes", result, machine="2 CPU cores, one thread", packages=("torch", "tokenizers"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
