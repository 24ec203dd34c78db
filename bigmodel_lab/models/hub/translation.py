"""Translation by a public encoder-decoder: Marian (Junczys-Dowmunt et al. 2018, arXiv 1804.00344), or BART or T5.

The checkpoints of OPUS-MT (Tiedemann & Thottingal 2020, EAMT) keep their vocabulary as SentencePiece files, which the
package sentencepiece reads; checkpoints with a `tokenizer.json` (BART, T5) need no further package.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bigmodel_lab.errors import CheckpointError, InputError, MissingExtraError
from bigmodel_lab.models import hub
from bigmodel_lab.models.hugging_face import quiet

__all__ = ["translate"]

BATCH = 16  # texts at a time
ROOM = 512  # tokens, for models without a table of positions
SPARE = 50  # tokens that a translation may be longer than its source, as in Vaswani et al. (2017), section 6.1


def translate(texts: Sequence[str], *, folder: str | Path | None = None, beams: int = 1) -> list[str]:
    """Return the translation of each of `texts`: the likeliest token after token, or the best of a beam search.

    `beams` is the width of the search. A translation has at most 50 tokens more than its source, and no more than the
    model has positions. A word that the tokeniser does not know goes in as its unknown token. From `folder`, or if
    None from the hub or its copy on this machine.
    Raises `InputError` for a text without a word and for one longer than the model can read (512 tokens of Marian):
    a cut translation would be a wrong one; `CheckpointError` if the model cannot be read; `MissingExtraError` if the
    tokeniser needs sentencepiece.
    """
    _check(texts, beams)
    model = hub.load("translation", "AutoModelForSeq2SeqLM", folder)
    tokenizer = _tokenizer(folder)
    room = getattr(model.config, "max_position_embeddings", None) or ROOM
    rows = tokenizer(list(texts), verbose=False)["input_ids"]
    for at, row in enumerate(rows):
        if len(row) > room:
            got, hint = f"{len(row)} in text {at}: {texts[at][:60]!r} ...", "translate it sentence by sentence"
            raise InputError(f"texts of at most {room} tokens, the places that the model knows", got=got, hint=hint)
    found = []
    for start in range(0, len(rows), BATCH):
        inputs = tokenizer.pad({"input_ids": rows[start : start + BATCH]}, return_tensors="pt")
        longest = min(inputs["input_ids"].shape[1] + SPARE, room - 1)  # one place is the start token's
        with quiet(), torch.no_grad():
            ids = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=longest,
                num_beams=beams,
                do_sample=False,
            )
        found += [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
    return found


def _check(texts: Sequence[str], beams: int) -> None:
    if isinstance(texts, str) or not len(texts):
        raise InputError("a sequence of texts, at least one", got=repr(texts)[:80], hint="[text] for a single one")
    for at, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise InputError("texts with something to translate", got=f"text {at}: {text!r}"[:80], hint="leave it out")
    if isinstance(beams, bool) or not isinstance(beams, int) or beams < 1:
        raise InputError("beams, an integer of at least 1", got=repr(beams), hint="beams=1")


def _tokenizer(folder: str | Path | None) -> Any:
    """Return the checkpoint's tokeniser; where only a package is missing, say which."""
    try:
        return hub.part("translation", "AutoTokenizer", folder)
    except CheckpointError as error:
        if isinstance(error.__cause__, ImportError) and "sentencepiece" in str(error.__cause__).lower():
            raise MissingExtraError(
                "the package sentencepiece, which reads this checkpoint's vocabulary",
                got="no such package",
                hint="pip install sentencepiece",
            ) from error
        raise
