"""Sentiment by the public model, DistilBERT fine-tuned on SST-2: texts in, probabilities out.

Sources: Sanh et al. (2019), DistilBERT, arXiv 1910.01108; Socher et al. (2013), EMNLP (SST).
Dimension letters: N texts, K classes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models.hub import MODELS, load, part

if TYPE_CHECKING:
    from transformers import PretrainedConfig

__all__ = ["classify"]

ORDER = ("negative", "positive")
CHUNK = 32  # texts that go through the model at once


@torch.no_grad()
def classify(texts: Sequence[str], *, folder: str | Path | None = None) -> Tensor:
    """Return the probability of each class for each text: (N, K) float32, for SST-2 negative and positive.

    The model is read from `folder`, or if None from the hub or its copy on this machine. Where its labels are called
    negative and positive, the columns come in that order, whatever theirs is; else in the order of `config.id2label`.
    A word that is not in the vocabulary is cut into known pieces, and one with a strange character becomes [UNK], as
    that tokenizer does. Raises `InputError` for a text without a token or with more than the model can read (512, the
    frame included), `CheckpointError` where the checkpoint cannot be read or is not a classifier.
    """
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        got = repr(texts)[:80] if isinstance(texts, str) else f"a {_odd(texts)}"
        raise InputError("a sequence of texts", got=got, hint="[text] for a single one; of a TextSet its .texts")
    if not texts:
        raise InputError("at least one text", got="none")
    tokenizer = part("sentiment", "AutoTokenizer", folder)
    model = load("sentiment", "AutoModelForSequenceClassification", folder)
    order = _order(model.config)
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # what transformers makes where the files are missing
        raise CheckpointError("the tokenizer's files beside the model's", got=f"{len(tokenizer)} tokens, all special")
    rows = tokenizer(list(texts), verbose=False)["input_ids"]
    _check(texts, rows, tokenizer.num_special_tokens_to_add(), model.config.max_position_embeddings)
    found = []
    for start in range(0, len(rows), CHUNK):
        batch = tokenizer.pad({"input_ids": rows[start : start + CHUNK]}, return_tensors="pt")
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        found.append(logits.float().softmax(-1)[:, order])
    return torch.cat(found)


def _order(config: "PretrainedConfig") -> list[int]:
    """Return the columns of the model in the order to return them in; refuse a model whose head would be made up."""
    kinds = config.architectures or ["no architecture"]
    names = [str(config.id2label[k]).lower() for k in sorted(config.id2label)]
    if len(names) < 2 or not any(kind.endswith("ForSequenceClassification") for kind in kinds):
        raise CheckpointError(
            f"a trained classifier such as {MODELS['sentiment'].name}",
            got=f"{', '.join(kinds)} with {len(names)} outputs",
            hint="fine-tune it first, and save the fine-tuned model: what is missing in a checkpoint is drawn by lot",
        )
    return [names.index(name) for name in ORDER] if sorted(names) == sorted(ORDER) else list(range(len(names)))


def _check(texts: Sequence[str], rows: list[list[int]], frame: int, most: int) -> None:
    for at, row in enumerate(rows):
        if len(row) <= frame:
            raise InputError("texts with at least one token", got=f"text {at}: {texts[at]!r}", hint="leave it out")
        if len(row) > most:
            raise InputError(
                f"texts of at most {most} tokens, {frame} of them the frame",
                got=f"{len(row)} tokens in text {at}: {texts[at][:60]!r} ...",
                hint="split it, or cut it: the model has no positions for more",
            )


def _odd(texts: Sequence) -> str:
    return next(type(text).__name__ for text in texts if not isinstance(text, str))
