"""Tokenisers: bytes, characters and byte-pair encoding, trained by the `tokenizers` library.

Each comes as a Hugging Face `PreTrainedTokenizerFast`, so it is saved by `save_pretrained(folder)` and loaded by
`AutoTokenizer.from_pretrained(folder)`. Byte-pair encoding: Sennrich, Haddow & Birch (2016), arXiv 1508.07909; on
bytes: Radford et al. (2019). Every text becomes [CLS] … [SEP]; [PAD] fills up, [MASK] hides.
Dimension letters: N texts, T tokens.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bigmodel_lab.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

LARGEST = 1_000_000  # tokens of a vocabulary
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # ids 0 to 4
SURROGATE = re.compile("[\ud800-\udfff]")
ROLES = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}


def bpe(texts: Sequence[str], size: int = 4096) -> "PreTrainedTokenizerFast":
    """Learn a byte-pair encoding of `size` tokens from `texts`; it can write any text, byte by byte if need be.

    A space belongs to the word after it. Raises `InputError` where `size` does not hold the 256 bytes and the special
    tokens, and where there is no text to learn from.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    _check_texts(texts)
    smallest = 256 + len(SPECIAL)
    if size < smallest:
        raise InputError(f"a size of at least {smallest}, the bytes and the special tokens", got=repr(size))
    if size > LARGEST:  # the trainer takes memory for all of it at once
        raise InputError(f"a size of at most {LARGEST}", got=repr(size), hint="size=4096")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    # a [MASK] that is written in a text stands for the space before it too, as the words do
    special = [AddedToken(name, lstrip=name == "[MASK]", special=True) for name in SPECIAL]
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _finished(tokenizer)


def byte_level() -> "PreTrainedTokenizerFast":
    """Return the tokeniser whose tokens are the 256 bytes of UTF-8: nothing to learn, nothing unknown."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    names = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({name: at for at, name in enumerate(names)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _finished(tokenizer)


def characters(texts: Sequence[str]) -> "PreTrainedTokenizerFast":
    """Return the tokeniser whose tokens are the characters of `texts`; any other character is [UNK]."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    _check_texts(texts)
    names = [*SPECIAL, *sorted(set().union(*texts))]
    tokenizer = Tokenizer(models.WordLevel({name: at for at, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return _finished(tokenizer)


def encode(
    tokenizer: "PreTrainedTokenizerFast",
    texts: Sequence[str] | Sequence[tuple[str, str]],
    length: int,
    *,
    truncate: bool = False,
    unknown: bool = False,
) -> Tensor:
    """Return the ids (N, `length`) int64 of `texts`, or of pairs of texts, filled up with [PAD].

    Raises `InputError` for a text without a token, for one longer than `length` unless `truncate` allows to cut it, and
    for one with characters that the tokeniser does not know unless `unknown` allows them to become [UNK].
    """
    _check_texts(texts, pairs=True)
    special = tokenizer.num_special_tokens_to_add(pair=isinstance(texts[0], tuple))
    if length <= special:
        raise InputError(f"a length above {special}, the special tokens of each text", got=repr(length))
    limit = {"truncation": True, "max_length": length} if truncate else {}
    rows = tokenizer(list(texts), return_attention_mask=False, return_token_type_ids=False, verbose=False, **limit)
    ids = rows["input_ids"]
    for at, row in enumerate(ids):
        if len(row) <= special:
            raise InputError("texts with at least one token", got=f"text {at}: {texts[at]!r}", hint="leave it out")
        if len(row) > length:
            raise InputError(
                f"texts of at most {length} tokens",
                got=f"{len(row)} tokens in text {at}: {_short(texts[at])}",
                hint="truncate=True cuts them; or a greater length, up to the model's context",
            )
        if not unknown and tokenizer.unk_token_id in row:
            raise InputError(
                "texts in characters or words that the tokeniser knows",
                got=f"{row.count(tokenizer.unk_token_id)} unknown in text {at}: {_short(texts[at])}",
                hint="unknown=True lets them become [UNK]; byte_level() and bpe(...) know every text",
            )
    pad = tokenizer.pad_token_id
    return torch.tensor([row + [pad] * (length - len(row)) for row in ids])


def _finished(tokenizer) -> "PreTrainedTokenizerFast":
    """Frame every text by [CLS] and [SEP], and name the special tokens."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    frame = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=frame
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **ROLES)


def _check_texts(texts: Sequence, *, pairs: bool = False) -> None:
    """Refuse what is no sequence of texts or, where they may be there, of pairs of texts."""
    if isinstance(texts, str | bytes) or not hasattr(texts, "__len__") or len(texts) == 0:
        raise InputError("a sequence of texts, at least one", got=_short(texts), hint="[text] for a single one")
    kinds = set()
    for at, text in enumerate(texts):
        paired = pairs and isinstance(text, tuple | list) and len(text) == 2
        kinds.add(paired)
        if len(kinds) > 1 or not all(_is_text(part) for part in (text if paired else (text,))):
            raise InputError(
                f"texts{' or pairs of texts, all of one kind' * pairs}",
                got=f"text {at}: {_short(text)}",
                hint="str(text), or leave it out; of a TextSet its .texts",
            )


def _is_text(text: object) -> bool:
    """Say whether `text` is a string that UTF-8 can write: half a surrogate pair cannot."""
    return isinstance(text, str) and (text.isascii() or not SURROGATE.search(text))


def _short(text: object) -> str:
    shown = repr(text)
    return shown if len(shown) <= 80 else shown[:77] + "..."
