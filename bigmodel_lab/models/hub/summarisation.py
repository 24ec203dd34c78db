"""Summarisation by a public encoder-decoder: BART (Lewis et al. 2020, arXiv 1910.13461), or T5 from a folder."""

from collections.abc import Sequence
from pathlib import Path

import torch

from bigmodel_lab.errors import InputError
from bigmodel_lab.models import hub
from bigmodel_lab.models.hugging_face import quiet

__all__ = ["summarise"]

BATCH = 8  # texts at a time


def summarise(texts: Sequence[str], *, folder: str | Path | None = None, longest: int = 64) -> list[str]:
    """Return a summary of each of `texts`, of at most `longest` new tokens, by beam search as the checkpoint sets it.

    A text longer than the model reads (1024 tokens of BART) is cut at its end, and a summary ends where the model's
    places do. The task's prefix that T5 wants before each text ("summarize: ") is put there if the checkpoint's config
    names it. From `folder`, or the hub if None.
    Raises `InputError` for an empty text, `CheckpointError` if the model cannot be read.
    """
    if isinstance(texts, str) or not len(texts):
        raise InputError("a sequence of texts, at least one", got=repr(texts)[:80], hint="[text] for a single one")
    for at, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise InputError("texts with something to summarise", got=f"text {at}: {text!r}"[:80], hint="leave it out")
    if isinstance(longest, bool) or not isinstance(longest, int) or longest < 1:
        raise InputError("longest, an integer of at least 1", got=repr(longest), hint="longest=64")
    model = hub.load("summarisation", "AutoModelForSeq2SeqLM", folder)
    tokenizer = hub.part("summarisation", "AutoTokenizer", folder)
    prefix = ((getattr(model.config, "task_specific_params", None) or {}).get("summarization") or {}).get("prefix", "")
    places = getattr(model.config, "max_position_embeddings", None)  # of a text, and of a summary with its start
    room = places or 512  # T5 has no positions, and was trained on 512 tokens
    longest = min(longest, places - 1) if places else longest
    found = []
    for start in range(0, len(texts), BATCH):
        some = [prefix + " ".join(text.split()) for text in texts[start : start + BATCH]]
        inputs = tokenizer(some, return_tensors="pt", padding=True, truncation=True, max_length=room)
        with quiet(), torch.no_grad():
            ids = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=longest,
                min_length=min(model.generation_config.min_length or 0, longest),
            )
        found += [" ".join(text.split()) for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
    return found
