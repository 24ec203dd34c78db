"""Does anything beat the first sentence? Small models trained to write a docstring's first line from its body.

Three models of about a million parameters, with the same tokeniser, batches and limits (96 tokens of body, 32 of
summary), on 400 and 1600 training texts: mini-GPT, fine-tuned, also on all texts; the same network from random weights;
an encoder-decoder from random weights, with three times the passes, which cost about the same. And mini-GPT once more,
told the name of what is described. Kept for each seed: on all test texts ROUGE-1, -2, -L and ROUGE-1 of content words
(F-measures), the differences of the first and the last of them from the first sentence with 95 % bootstrap intervals,
what is written for another body, and what the words are like. A run that was kept is not made again.

    python -m benchmarks.summarisation [--seeds 3] [--most 4]
"""

import argparse
import json
import re
import time

import torch
from rouge_score import rouge_scorer
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from torch import Tensor, nn

from benchmarks.saved import RESULTS, save
from bigmodel_lab import data, models, train
from bigmodel_lab.data.text.summaries import SummarySet, sentences, summaries
from bigmodel_lab.models.hugging_face import Logits, quiet
from bigmodel_lab.models.transformer import EncoderDecoder, TransformerConfig, teacher_forcing, translate

BODY, SUMMARY = 96, 32  # tokens, special ones included
GPT, UNTRAINED, SEQ2SEQ, TOLD = KINDS = (
    "mini-GPT",
    "mini-GPT, untrained",
    "encoder-decoder",
    "mini-GPT, told the name",
)
WANTED = {400: (GPT, SEQ2SEQ), 1600: KINDS, 0: (GPT,)}  # 0 training texts: all there are
BATCH, RATE = 16, 1e-3
PASSES, MORE = 2, 6  # over the texts; more for the encoder-decoder, whose passes cost less
PAD, CLS, SEP = 0, 2, 3
SCORES = ("rouge_1", "rouge_2", "rouge_l", "content_1")
SCORER = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
NAME = re.compile(r"\S*(?:\w[._]\w|[a-z][A-Z]|[A-Z]{2}|\d)\S*")


def words(text: str) -> list[str]:
    """The words that ROUGE sees."""
    return re.findall(r"[a-z0-9]+", text.lower())


def spoken(name: str) -> str:
    """The last part of a dotted name as words: "a.b.read_csv" -> "read csv"."""
    last = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.split(".")[-1])
    return " ".join(last.replace("_", " ").split())


def token_rows(tokenizer, texts, length: int) -> list[list[int]]:
    """The first `length` tokens of each text, without special ones."""
    return [row[:length] for row in tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]]


def filled(rows: list[list[int]], length: int, with_what: int = PAD, left: bool = False) -> Tensor:
    """Rows of ids -> (N, length), filled up."""
    fill = [[with_what] * (length - len(row)) for row in rows]
    return torch.tensor([f + row if left else row + f for f, row in zip(fill, rows, strict=True)])


def prompts(tokenizer, texts) -> list[list[int]]:
    return [[CLS, *row, SEP] for row in token_rows(tokenizer, texts, BODY - 2)]


def for_gpt(tokenizer, texts, lines) -> tuple[Tensor, Tensor]:
    """[CLS] body [SEP] summary [SEP]; the loss counts the summary alone."""
    starts = prompts(tokenizer, texts)
    ends = [[*row, SEP] for row in token_rows(tokenizer, lines, SUMMARY - 1)]
    rows = [start + end for start, end in zip(starts, ends, strict=True)]
    aims = [[-100] * (len(start) - 1) + end for start, end in zip(starts, ends, strict=True)]
    return filled(rows, BODY + SUMMARY), filled(aims, BODY + SUMMARY, -100)


def for_seq2seq(tokenizer, texts, lines) -> tuple[Tensor, Tensor]:
    ends = [[CLS, *row, SEP] for row in token_rows(tokenizer, lines, SUMMARY - 1)]
    return teacher_forcing(filled(prompts(tokenizer, texts), BODY), filled(ends, SUMMARY + 1))


def network(kind: str, tokenizer) -> nn.Module:
    if kind == SEQ2SEQ:
        sizes = {"width": 128, "heads": 4, "depth": 2, "context": SUMMARY, "source_length": BODY}
        return EncoderDecoder(TransformerConfig(vocabulary=len(tokenizer), padding=PAD, **sizes))
    from transformers import AutoModelForCausalLM

    with quiet():
        model = AutoModelForCausalLM.from_pretrained(models.pretrained.folder("mini-gpt"))
    return Logits(type(model)(model.config) if kind == UNTRAINED else model, pad=PAD)


@torch.no_grad()
def written(model: nn.Module, tokenizer, texts) -> list[str]:
    """The likeliest summary of each text, token after token."""
    starts, found = prompts(tokenizer, texts), []
    for at in range(0, len(starts), 64):
        some = starts[at : at + 64]
        if isinstance(model, EncoderDecoder):
            new = translate(model, filled(some, BODY), start=CLS, stop=SEP)
        else:
            ids = filled(some, max(map(len, some)), left=True)
            stops = {"max_new_tokens": SUMMARY, "pad_token_id": PAD, "eos_token_id": SEP}
            mask = (ids != PAD).long()
            new = model.model.eval().generate(ids, attention_mask=mask, do_sample=False, **stops)[:, ids.shape[1] :]
        found += [" ".join(tokenizer.decode(row, skip_special_tokens=True).split()) for row in new]
    return found


def content(text: str) -> str:
    """The words of a text that are not among the commonest in English."""
    return " ".join(word for word in words(text) if word not in ENGLISH_STOP_WORDS)


def rouge(lines, outputs) -> Tensor:
    """F-measures (N, 4) of ROUGE-1, -2, -L, and of ROUGE-1 on content words."""
    rows = []
    for line, output in zip(lines, outputs, strict=True):
        row = [score.fmeasure for score in SCORER.score(line, output).values()]
        rows.append([*row, SCORER.score(content(line), content(output))["rouge1"].fmeasure])
    return torch.tensor(rows)


def interval(differences: Tensor, draws: int = 2000) -> list[float]:
    """The middle 95 % of the means of `differences` (N,), drawn again."""
    index = torch.randint(len(differences), (draws, len(differences)), generator=torch.Generator().manual_seed(0))
    return [round(q.item(), 4) for q in differences[index].mean(1).quantile(torch.tensor([0.025, 0.975]))]


def measured(test: SummarySet, outputs: list[str], lead: Tensor) -> dict:
    """What is kept of the summaries `outputs` of the test texts."""
    scores = rouge(test.summaries, outputs)
    novel, made_up, names = [], 0, 0
    for body, output in zip(test.bodies, outputs, strict=True):
        there = set(words(body))
        novel += [word not in there for word in words(output)]
        found = [word.strip(".,;:()") for word in output.split() if NAME.fullmatch(word.strip(".,;:()"))]
        names, made_up = names + len(found), made_up + sum(name not in body for name in found)
    return {
        **{name: round(x, 4) for name, x in zip(SCORES, scores.mean(0).tolist(), strict=True)},
        "over_lead_95": interval(scores[:, 0] - lead[:, 0]),
        "over_lead_content_95": interval(scores[:, 3] - lead[:, 3]),
        "novel": round(sum(novel) / max(len(novel), 1), 4),
        "names": names,
        "made_up": made_up,
        "words": round(sum(len(o.split()) for o in outputs) / len(outputs), 2),
    }


def run(kind: str, size: int, seed: int, train_set: SummarySet, test: SummarySet, lead: Tensor, tokenizer) -> dict:
    """Train one model, let it write, measure."""
    part = train_set[: size or len(train_set)]

    def told(some: SummarySet, other: int = 0) -> list[str]:
        bodies = [some.bodies[at - other] for at in range(len(some))]
        names = [some.names[at - other] for at in range(len(some))]
        return [f"{spoken(n)}: {b}" for n, b in zip(names, bodies, strict=True)] if kind == TOLD else bodies

    begun = time.process_time()
    torch.manual_seed(seed)
    model = network(kind, tokenizer)
    packed = (for_seq2seq if kind == SEQ2SEQ else for_gpt)(tokenizer, told(part), part.summaries)
    recipe = {"learning_rate": RATE, "schedule": train.warmup_cosine(warmup=0.1), "clip_norm": 1.0}
    batches = train.Batches(*packed, batch_size=BATCH, seed=seed)
    passes = MORE if kind == SEQ2SEQ else PASSES
    history = train.fit(model, batches, epochs=passes, loss=train.token_loss, progress=False, **recipe)
    seconds = time.process_time() - begun
    result = measured(test, written(model, tokenizer, told(test)), lead)
    other = rouge(test.summaries, written(model, tokenizer, told(test, 1))).mean(0)
    about = {"model": kind, "examples": len(part), "seed": seed, "all": not size}
    more = {
        "of_another_body": [round(x, 4) for x in other[[0, 3]].tolist()],
        "loss": round(history.rows[-1]["train_loss"], 3),
    }
    sizes = {"parameters": sum(p.numel() for p in model.parameters()), "cpu_seconds": round(seconds, 1)}
    return about | result | more | sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--most", type=int, default=0, help="make at most so many runs, 0 for all that are missing")
    options = parser.parse_args()
    from transformers import AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(models.pretrained.folder("mini-gpt"))
    corpus = data.text.corpus()
    file = RESULTS / "summarisation.json"
    kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    runs = kept.get("runs", []) if kept.get("corpus") == corpus.hash else []
    done = {(r["model"], 0 if r["all"] else r["examples"], r["seed"]) for r in runs}
    wanted = [(k, n, s) for n, kinds in WANTED.items() for s in range(options.seeds) for k in kinds]
    missing = [one for one in wanted if one not in done][: options.most or None]
    for kind, size, seed in missing:
        train_set, test = summaries(corpus, seed=seed)
        lead_lines = [sentences(body)[0] for body in test.bodies]
        lead = rouge(test.summaries, lead_lines)
        runs.append(run(kind, size, seed, train_set, test, lead, tokenizer))
        print(runs[-1], flush=True)
        result = {
            "question": "does a small model that writes beat the first sentence?",
            "seeds": options.seeds,
            "recipe": {"passes": PASSES, "passes_of_encoder_decoder": MORE, "batch": BATCH, "learning_rate": RATE},
            "tokens": {"body": BODY, "summary": SUMMARY},
            "corpus": corpus.hash,
            "texts": {"train": len(train_set), "test": len(test)},
            "lead": measured(test, lead_lines, lead),
            "people": measured(test, list(test.summaries), lead),
            "runs": runs,
        }
        save("summarisation", result, machine="2 CPU cores, one thread", packages=("torch", "transformers"))


if __name__ == "__main__":
    main()
