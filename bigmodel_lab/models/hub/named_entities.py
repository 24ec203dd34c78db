"""Named entities by the public model, BERT fine-tuned on CoNLL-2003: words in, one BIO tag a word out.

Sources: Devlin et al. (2019), BERT, NAACL, arXiv 1810.04805; Tjong Kim Sang & De Meulder (2003), arXiv cs/0306050.
Dimension letters: N sentences, T words of a sentence, P pieces of words, K tags.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models.hub import MODELS, load, part

if TYPE_CHECKING:
    from transformers import PretrainedConfig

__all__ = ["entities"]

CHUNK = 16  # sentences that go through the model at once


@torch.no_grad()
def entities(sentences: Sequence[Sequence[str]], *, folder: str | Path | None = None) -> list[list[str]]:
    """Return one tag a word for each sentence, such as "B-PER", "I-PER" or "O": N lists of T tags.

    A sentence is a list of words, punctuation among them, as in an `EntitySet`. The tokenizer cuts words into pieces;
    as in BERT's paper, the first piece of a word speaks for it. A word without a piece of its own (an odd character)
    is "O". The model is read from `folder`, or if None from the hub or its copy on this machine. Raises `InputError`
    for a sentence without words or with more pieces than the model reads (512, the frame included), and
    `CheckpointError` where the checkpoint cannot be read or is no tagger.
    """
    _check_words(sentences)
    tokenizer, model = part("named_entities", "AutoTokenizer", folder), None
    if not tokenizer.is_fast or len(tokenizer) <= len(tokenizer.all_special_ids):
        raise CheckpointError("a fast tokenizer's files beside the model's", got=f"{len(tokenizer)} tokens")
    model = load("named_entities", "AutoModelForTokenClassification", folder)
    names = _names(model.config)
    most, found = model.config.max_position_embeddings, []
    for start in range(0, len(sentences), CHUNK):
        some = [list(words) for words in sentences[start : start + CHUNK]]
        batch = tokenizer(some, is_split_into_words=True, padding=True, return_tensors="pt", verbose=False)
        lengths = batch["attention_mask"].sum(1)
        if lengths.max() > most:
            at = int(lengths.argmax())
            got = f"{int(lengths[at])} in sentence {start + at}: {' '.join(some[at])[:60]} ..."
            raise InputError(f"sentences of at most {most} pieces of words, the frame included", got=got)
        best = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.argmax(-1)  # (b, P)
        for row, words in enumerate(some):
            tags = ["O"] * len(words)
            for piece, word in reversed(list(enumerate(batch.word_ids(row)))):  # the first piece comes last, and stays
                if word is not None:
                    tags[word] = names[int(best[row, piece])]
            found.append(tags)
    return found


def _check_words(sentences: Sequence[Sequence[str]]) -> None:
    if isinstance(sentences, str) or not len(sentences):
        raise InputError(
            "at least one sentence, a list of words each", got=repr(sentences)[:80], hint="[['A', 'word']]"
        )
    for at, words in enumerate(sentences):
        if isinstance(words, str) or not all(isinstance(word, str) for word in words):
            got = f"sentence {at}: {words!r}"[:100]
            raise InputError(
                "each sentence as a list of words", got=got, hint="text.split(); of an EntitySet its .words"
            )
        if not any(word.strip() for word in words):
            raise InputError("at least one word in each sentence", got=f"none in sentence {at}", hint="leave it out")


def _names(config: "PretrainedConfig") -> list[str]:
    """Return the tag of each output; refuse a model whose head would be made up."""
    kinds = config.architectures or ["no architecture"]
    names = [str(config.id2label[k]) for k in sorted(config.id2label)]
    tags = all(name == "O" or name[:2] in ("B-", "I-") for name in names)
    if not tags or not any(kind.endswith("ForTokenClassification") for kind in kinds):
        raise CheckpointError(
            f"a trained tagger such as {MODELS['named_entities'].name}, with BIO tags in its config",
            got=f"{', '.join(kinds)} with {', '.join(names)[:80]}",
            hint="fine-tune it first, with id2label={0: 'O', 1: 'B-PER', ...}, and save the fine-tuned model",
        )
    return names
