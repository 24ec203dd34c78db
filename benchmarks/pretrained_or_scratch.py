"""Accuracy against the number of labels: a small BERT from scratch, frozen, and fine-tuned, beside smaller models.

    python -m benchmarks.pretrained_or_scratch tune     # learning rates, on a validation part: 3 minutes
    python -m benchmarks.pretrained_or_scratch          # the experiment: 15 CPU-minutes, resumed where it was stopped

The task: which of four libraries does a docstring come from (names of libraries blotted out)? Training texts are
divided once: 4 000 to draw labelled ones from, 600 to choose learning rates on. The 600 share their source files with
the 4 000 ("same_files"); the 828 test texts are from other files, and the same for all. Each seed draws other labelled
texts, another new head (from scratch: all weights) and another order. Recipes, with the same texts of 64 tokens:

- "scratch", "fine-tuned": the same BERT, all weights trained, from random weights or from the checkpoint `mini-bert`; a
  linear layer on the mean of the last layer's states (on the state of [CLS], as Hugging Face's classifier has it, both
  were worse on the validation part: "[CLS] scratch", "[CLS] fine-tuned");
- "probe", "random probe": the same states of a frozen body, pre-trained or random, and logistic regression;
- "embeddings", "tf-idf": logistic regression on the mean of the checkpoint's input embeddings, on words and pairs of
  words;
- "small scratch", "small pre-trained": a bag of word vectors of width 32 and a linear head, all trained; the vectors
  begin at random, or from counting neighbours in unlabelled text (Levy & Goldberg 2014).

At 200 labels also: only a part of the checkpoint is taken over ("take"), or a part is kept frozen ("freeze").
Dimension letters: N texts, T tokens, C channels, V vocabulary, K classes.
"""

import argparse
import json
import time
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from benchmarks.saved import ROOT, save
from bigmodel_lab import runtime, train
from bigmodel_lab.data import text
from bigmodel_lab.models import pretrained
from bigmodel_lab.models.hugging_face import Logits, quiet

PARTIAL = ROOT / "runs" / "pretrained_or_scratch.json"  # what is done already
LENGTH, POOL, WIDTH = 64, 4000, 32
EPOCHS = {50: 20, 100: 15, 200: 12, 500: 8, 1500: 5, 4000: 3}
SEEDS = {50: 5, 100: 5, 200: 5, 500: 3, 1500: 3, 4000: 3}
SMALL_EPOCHS = 4  # times as many for the bags: they are cheap and learn slowly
RATES = {"scratch": 1e-3, "fine-tuned": 3e-4, "small scratch": 1e-2, "small pre-trained": 1e-2}  # by `tune`
RATES |= {"[CLS] scratch": 3e-4, "[CLS] fine-tuned": 3e-4}
TRIED = {"BERT": (3e-4, 1e-3, 3e-3), "small": (3e-3, 1e-2, 3e-2)}
PARTS = ("test", "tune")
T_95 = {3: 4.303, 5: 2.776}  # Student's t for a 95 % interval over so many seeds


@dataclass(frozen=True)
class Task:
    """Texts as ids (N, T) with labels (N,), by part: "pool", "tune" and "test"; and the checkpoint's folder."""

    folder: Path
    tokens: object
    texts: dict[str, text.TextSet]
    ids: dict[str, Tensor]
    corpus: text.Corpus


def task(folder: Path) -> Task:
    from transformers import AutoTokenizer

    tokens, corpus = AutoTokenizer.from_pretrained(folder), text.corpus()
    fitting, test = text.which_library(corpus, classes=4)
    texts = {"pool": fitting[:POOL], "tune": fitting[POOL:], "test": test}
    ids = {name: text.encode(tokens, part.texts, LENGTH, truncate=True) for name, part in texts.items()}
    return Task(folder, tokens, texts, ids, corpus)


# --- models ---------------------------------------------------------------------------------------------------------


class Pooled(nn.Module):
    """A linear layer on the mean of a BERT's last states over a text: ids (N, T) -> logits (N, K)."""

    def __init__(self, body: nn.Module, classes: int = 4) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(body.config.hidden_size, classes)

    def features(self, ids: Tensor) -> Tensor:
        """Mean state of each text, (N, C)."""
        mask = (ids != self.body.config.pad_token_id).long()  # (N, T)
        states = self.body(ids, attention_mask=mask).last_hidden_state  # (N, T, C)
        return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.features(ids))


class _Only(nn.Module):
    """The input embeddings of a BERT in place of its last states: no attention, no positions."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.vectors, self.config = body.get_input_embeddings(), body.config

    def forward(self, ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self.vectors(ids))


def bert(folder: Path, *, take: int = 3, freeze: int = 0) -> Pooled:
    """A classifier with new head; the first `take` parts are the checkpoint's, the first `freeze` are not trained."""
    from transformers import BertConfig, BertModel

    made = BertModel(BertConfig.from_pretrained(folder), add_pooling_layer=False)
    if take:
        with quiet():
            given = BertModel.from_pretrained(folder, add_pooling_layer=False)
        for new, old in list(zip(_parts(made), _parts(given), strict=True))[:take]:
            new.load_state_dict(old.state_dict())
    for part in _parts(made)[:freeze]:
        part.requires_grad_(False)
    return Pooled(made)


def bert_with_cls(folder: Path, *, take: int) -> Logits:
    """Hugging Face's own classifier: a new head on the state of [CLS]; all of the checkpoint or nothing."""
    from transformers import BertConfig, BertForSequenceClassification

    with quiet():
        if take:
            return Logits(BertForSequenceClassification.from_pretrained(folder, num_labels=4))
        return Logits(BertForSequenceClassification(BertConfig.from_pretrained(folder, num_labels=4)))


def _parts(body: nn.Module) -> list[nn.Module]:
    return [body.embeddings, *body.encoder.layer]


class Bag(nn.Module):
    """The mean of a text's word vectors, and a linear head: ids (N, T) -> logits (N, K)."""

    def __init__(self, vocabulary: int, classes: int = 4, vectors: Tensor | None = None) -> None:
        super().__init__()
        self.vectors = nn.Embedding(vocabulary, WIDTH, padding_idx=0)
        self.head = nn.Linear(WIDTH, classes)
        if vectors is not None:
            self.vectors.weight.data.copy_(vectors)

    def forward(self, ids: Tensor) -> Tensor:
        there = (ids != 0)[..., None]  # (N, T, 1)
        return self.head((self.vectors(ids) * there).sum(1) / there.sum(1))


def word_vectors(blocks: Tensor, vocabulary: int, width: int = WIDTH, window: int = 5) -> Tensor:
    """Vectors (V, C) from counting who stands near whom in blocks (N, T): positive PMI, cut to its `width` main axes.

    Levy & Goldberg (2014), with contexts smoothed as in Levy, Goldberg & Dagan (2015). Mean square 1.
    """
    counts = torch.zeros(vocabulary * vocabulary)
    for distance in range(1, window + 1):
        pairs = blocks[:, :-distance] * vocabulary + blocks[:, distance:]
        counts += torch.bincount(pairs.flatten(), minlength=len(counts))
    together = counts.view(vocabulary, vocabulary)
    together = together + together.T
    alone = together.sum(0)
    smooth = alone**0.75 / (alone**0.75).sum()
    pmi = (together / alone[:, None].clamp(min=1) / smooth.clamp(min=1e-12)).log().clamp(min=0)
    left, scale, _ = torch.svd_lowrank(pmi, q=width, niter=4)
    vectors = left * scale.sqrt()
    return vectors / vectors.square().mean().sqrt()


# --- one point ------------------------------------------------------------------------------------------------------


def drawn(task: Task, labels: int, seed: int) -> Tensor:
    """Which texts of the pool are labelled, (labels,)."""
    return torch.randperm(POOL, generator=torch.Generator().manual_seed(seed))[:labels]


def fitted(model: nn.Module, task: Task, rows: Tensor, rate: float, epochs: int, seed: int) -> nn.Module:
    """Train on the rows of the pool. Batches of 16, of 32 from 500 labels on."""
    batches = train.Batches(
        task.ids["pool"][rows],
        task.texts["pool"].labels[rows],
        batch_size=16 if len(rows) < 500 else 32,
        seed=seed,
    )
    recipe = {"schedule": train.warmup_cosine(warmup=0.1), "clip_norm": 1.0, "progress": False}
    train.fit(model, batches, epochs=epochs, learning_rate=rate, **recipe)
    return model


def trained(
    task: Task, recipe: str, labels: int, seed: int, rate: float | None = None, epochs: int = 0, **parts: int
) -> nn.Module:
    """The model of `recipe`, trained with `labels` labels."""
    runtime.seed_everything(seed)
    rate, epochs = RATES[recipe] if rate is None else rate, epochs or EPOCHS[labels]
    if recipe.startswith("small"):
        vectors = counted(task) if recipe == "small pre-trained" else None
        model, epochs = Bag(len(task.tokens), vectors=vectors), SMALL_EPOCHS * epochs
    elif recipe.startswith("[CLS]"):
        model = bert_with_cls(task.folder, take=0 if recipe == "[CLS] scratch" else 3)
    else:
        model = bert(task.folder, **({"take": 0} if recipe == "scratch" else parts))
    return fitted(model, task, drawn(task, labels, seed), rate, epochs, seed)


def accuracy(model: nn.Module, task: Task, part: str = "test") -> float:
    right = train.predict(model, task.ids[part]).argmax(1) == task.texts[part].labels
    return round(right.float().mean().item(), 4)


_KEPT: dict[str, object] = {}


def counted(task: Task) -> Tensor:
    """Word vectors counted in every third training document, without its label."""
    if "vectors" not in _KEPT:
        texts = [text.plain(one) for one in task.corpus.split()[0].texts[::3]]
        runtime.seed_everything(0)
        _KEPT["vectors"] = word_vectors(text.blocks(texts, task.tokens, 128), len(task.tokens))
    return _KEPT["vectors"]


def features(task: Task, recipe: str, part: str) -> Tensor:
    """What a linear model reads of each text, (N, C)."""
    if (recipe, part) not in _KEPT:
        runtime.seed_everything(0)
        model = bert(task.folder, take=0 if recipe == "random probe" else 3).eval()
        if recipe == "embeddings":
            model.body = _Only(model.body)
        with torch.no_grad():
            _KEPT[recipe, part] = torch.cat([model.features(rows) for rows in task.ids[part].split(256)])
    return _KEPT[recipe, part]


def linear(task: Task, recipe: str, labels: int, seed: int) -> dict[str, float]:
    """Accuracy, by part, of logistic regression on what `recipe` reads; its C by cross-validation on the labels."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = drawn(task, labels, seed)
    if recipe == "tf-idf":
        read = {p: task.tokens.batch_decode(task.ids[p], skip_special_tokens=True) for p in ("pool", *PARTS)}
        fit = [read["pool"][row] for row in rows.tolist()]
        front = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    else:
        read = {part: features(task, recipe, part).numpy() for part in ("pool", *PARTS)}
        fit = read["pool"][rows.numpy()]
        front = StandardScaler()
    pipe = make_pipeline(front, LogisticRegression(max_iter=500))
    grid = {"logisticregression__C": [1, 10, 100] if recipe == "tf-idf" else [0.003, 0.03, 0.3]}
    search = GridSearchCV(pipe, grid, cv=3).fit(fit, task.texts["pool"].labels[rows].numpy())
    return {part: round(float(search.score(read[part], task.texts[part].labels.numpy())), 4) for part in PARTS}


# --- all points -----------------------------------------------------------------------------------------------------


def points() -> list[tuple[str, int, int]]:
    """All (recipe, labels, seed)."""
    linears = ("tf-idf", "embeddings", "probe", "random probe", "small scratch", "small pre-trained")
    parts = [f"{kind} {number}" for kind, numbers in (("take", (1, 2)), ("freeze", (1, 2))) for number in numbers]
    curve = [(one, labels, seed) for labels, seeds in SEEDS.items() for one in linears for seed in range(seeds)]
    curve += [
        (one, n, seed) for n, seeds in SEEDS.items() for one in ("fine-tuned", "scratch") for seed in range(seeds)
    ]
    parts = ["[CLS] fine-tuned", "[CLS] scratch", *parts]
    return curve + [(one, 200, seed) for one in parts for seed in range(3)]


def measured(task: Task, recipe: str, labels: int, seed: int) -> dict[str, float]:
    """Accuracy on the test texts, and on the texts for tuning, which come from the files of the training texts."""
    if recipe in ("tf-idf", "embeddings", "probe", "random probe"):
        return linear(task, recipe, labels, seed)
    kind, _, number = recipe.partition(" ")
    if kind in ("take", "freeze"):
        model = trained(task, "fine-tuned", labels, seed, **{kind: int(number)})
    else:
        model = trained(task, recipe, labels, seed)
    return {part: accuracy(model, task, part) for part in PARTS}


def interval(values: list[float], texts: int) -> dict:
    """Mean, its 95 % interval over seeds, and where one more run falls, other test texts included."""
    at = torch.tensor(values, dtype=torch.float64)
    mean, spread, n = at.mean().item(), at.std().item(), len(values)
    half, counting = T_95[n] * spread / n**0.5, mean * (1 - mean) / texts
    one = T_95[n] * (spread**2 * (1 + 1 / n) + counting) ** 0.5
    shown = {"mean": mean, "interval": [mean - half, mean + half], "one_run": [mean - one, mean + one]}
    return {"values": values} | {k: [round(x, 4) for x in v] if k != "mean" else round(v, 4) for k, v in shown.items()}


def tune(task: Task) -> dict:
    """Accuracy on the validation part for each learning rate, with labels of a seed that is not used again."""
    found = {}
    grid = [(one, 200, TRIED["BERT"]) for one in ("scratch", "fine-tuned", "[CLS] scratch", "[CLS] fine-tuned")]
    grid += [(one, 200, TRIED["small"]) for one in ("small scratch", "small pre-trained")]
    grid += [("scratch", 1500, TRIED["BERT"][1:]), ("fine-tuned", 1500, TRIED["BERT"][:2])]
    for recipe, labels, rates in grid:
        name = f"{recipe}, {labels} labels"
        found[name] = {str(r): accuracy(trained(task, recipe, labels, 100, r), task, "tune") for r in rates}
        print(name, found[name], flush=True)
    for recipe in ("scratch", "fine-tuned"):
        model = trained(task, recipe, 200, 100, epochs=2 * EPOCHS[200])
        found[f"{recipe}, 200 labels, twice the epochs"] = {str(RATES[recipe]): accuracy(model, task, "tune")}
    return found


def _rate(recipe: str) -> float | str:
    return RATES.get("fine-tuned" if recipe.split()[0] in ("take", "freeze") else recipe, "")


def _key(recipe: str, labels: int, seed: int, weights: str) -> str:
    fixed = recipe in ("scratch", "[CLS] scratch", "small scratch", "tf-idf", "random probe")  # needs no checkpoint
    return f"{recipe}|{labels}|{seed}|{'' if fixed else weights}|{_rate(recipe)}"


def checkpoint(folder: Path) -> str:
    """16 hexadecimal digits of the weights' file."""
    return blake2b((folder / "model.safetensors").read_bytes(), digest_size=8).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", nargs="?", choices=["tune", "all"], default="all")
    parser.add_argument("--folder", type=Path, default=pretrained.folder("mini-bert"), help="of the checkpoint")
    args = parser.parse_args()
    made = task(args.folder)
    done = json.loads(PARTIAL.read_text()) if PARTIAL.exists() else {"values": {}}
    PARTIAL.parent.mkdir(exist_ok=True)
    if args.what == "tune":
        done["tuning"] = tune(made)
        PARTIAL.write_text(json.dumps(done))
        return
    weights = checkpoint(args.folder)
    for recipe, labels, seed in points():
        key = _key(recipe, labels, seed, weights)
        if key not in done["values"]:
            begun = time.process_time()
            done["values"][key] = measured(made, recipe, labels, seed)
            done["seconds"] = done.get("seconds", 0) + time.process_time() - begun
            print(f"{key}: {done['values'][key]}  {time.process_time() - begun:.0f} s", flush=True)
            PARTIAL.write_text(json.dumps(done))
    write(made, done, weights)


def write(task: Task, done: dict, weights: str) -> None:
    """Gather the points of this checkpoint and save them."""
    curves: dict[str, dict[str, dict]] = {}
    for recipe, labels, _ in points():
        keys = [_key(recipe, labels, seed, weights) for seed in range(SEEDS[labels])]
        values = [done["values"][key] for key in keys if key in done["values"]]
        found = interval([value["test"] for value in values], len(task.texts["test"]))
        if all("tune" in value for value in values):
            found["same_files"] = interval([value["tune"] for value in values], len(task.texts["tune"]))
        curves.setdefault(recipe, {})[str(labels)] = found
    tests = len(task.texts["test"])
    result = {
        "question": "accuracy against the number of labels, by training recipe and size",
        "corpus_hash": task.corpus.hash,
        "checkpoint": {"name": "mini-bert", "weights": weights},
        "seeds": {str(n): list(range(seeds)) for n, seeds in SEEDS.items()},
        "classes": list(task.texts["test"].classes),
        "test_texts": tests,
        "length": LENGTH,
        "epochs": {str(n): e for n, e in EPOCHS.items()},
        "small_epochs_factor": SMALL_EPOCHS,
        "rates": RATES,
        "tuning": done.get("tuning"),
        "curves": {r: c for r, c in curves.items() if len(c) > 1},
        "at_200": {r: c["200"] for r, c in curves.items() if len(c) == 1},
        "parameters": {
            "larger": sum(p.numel() for p in bert(task.folder).parameters()),
            "small": sum(p.numel() for p in Bag(len(task.tokens)).parameters()),
        },
        "cpu_seconds": round(done["seconds"]),
    }
    save("pretrained_or_scratch", result, machine="2 CPU cores, one thread", packages=("torch", "transformers"))


if __name__ == "__main__":
    main()
