"""Tasks made from the corpus: which library a docstring describes, the next token, a masked token.

Masked tokens: Devlin et al. (2019), arXiv 1810.04805. Dimension letters: N texts or blocks, B batch, T tokens.
"""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from bigmodel_lab.data.integers import integer
from bigmodel_lab.data.text.corpus import Corpus
from bigmodel_lab.data.text.sets import TextSet
from bigmodel_lab.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

LIBRARIES = ("numpy", "scipy", "sklearn", "torch", "matplotlib", "pandas", "transformers", "python")
# words that would give a library away: its names inside any word, its usual abbreviations as whole words; it looks at
# each word from its beginning only, or a long line without spaces would take forever
GIVEAWAY = re.compile(
    r"(?i)(?<![\w-])[\w-]*(?:numpy|scipy|sklearn|scikit|torch|matplotlib|pyplot|pandas|transformers|hugging ?face"
    r"|python)[\w-]*"
    r"|\b(?:np|sp|mpl|plt|pd|hf|cpython)\b"
)
IGNORED = -100  # the target that the loss leaves out


def plain(text: str) -> str:
    """Return `text` on one line, with the names of libraries replaced by the word "library"."""
    return GIVEAWAY.sub("library", " ".join(text.split()))


def which_library(
    corpus: Corpus, classes: int = 4, *, per_class: int | None = None, seed: int = 0
) -> tuple[TextSet, TextSet]:
    """Return (train, test): docstrings with library names masked; the label is the package that one comes from.

    `classes` is 2 to 8 (`LIBRARIES`, in that order). In each part all classes have the same number of texts: that of
    the smallest, at most `per_class`. The parts come from different source files, as in `Corpus.split`.
    """
    if not 2 <= classes <= len(LIBRARIES):
        raise InputError(f"classes from 2 to {len(LIBRARIES)}", got=repr(classes), hint=", ".join(LIBRARIES))
    generator = torch.Generator().manual_seed(seed)
    first, second = (_labelled(part, LIBRARIES[:classes], per_class, generator) for part in corpus.split())
    return first, second


def _labelled(part: Corpus, names: Sequence[str], per_class: int | None, generator: Generator) -> TextSet:
    texts = {name: [d.text for d in part.documents if d.package == name] for name in names}
    count = min([len(found) for found in texts.values()] + ([per_class] if per_class is not None else []))
    if count < 1:
        short = ", ".join(name for name, found in texts.items() if not found) or f"per_class={per_class}"
        raise InputError("documents of every class", got=f"none of {short}", hint="corpus() with these packages")
    rows = []
    for label, found in enumerate(texts.values()):
        order = torch.randperm(len(found), generator=generator)[:count].tolist()
        rows += [(plain(found[at]), label) for at in order]
    rows = [rows[at] for at in torch.randperm(len(rows), generator=generator).tolist()]
    return TextSet(tuple(text for text, _ in rows), torch.tensor([label for _, label in rows]), tuple(names))


def blocks(texts: Sequence[str], tokenizer: "PreTrainedTokenizerFast", length: int) -> Tensor:
    """Return the tokens of all `texts`, one after the other, each as [CLS] … [SEP], cut into blocks (N, `length`).

    What is left at the end, fewer than `length` tokens, is dropped.
    """
    if isinstance(texts, str) or len(texts) == 0:
        raise InputError("at least one text", got=repr(texts)[:80], hint="corpus().split()[0].texts")
    length = integer("length", length, 1)
    rows = tokenizer(list(texts), return_attention_mask=False, return_token_type_ids=False, verbose=False)
    stream = torch.tensor([token for row in rows["input_ids"] for token in row])
    count = len(stream) // length
    if count < 1:
        raise InputError(f"at least {length} tokens, one block", got=f"{len(stream)}", hint="more text, shorter blocks")
    return stream[: count * length].view(count, length)


def next_token(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Return inputs (N, T - 1) and targets (N, T - 1) of blocks (N, T): each target is the token after."""
    return blocks[:, :-1].contiguous(), blocks[:, 1:].contiguous()


def masking(
    tokenizer: "PreTrainedTokenizerFast", share: float = 0.15
) -> Callable[[Tensor, Generator], tuple[Tensor, Tensor]]:
    """Return an `augment` for `train.Batches`: ids (B, T) -> (inputs (B, T), targets (B, T)), masked anew each time.

    A `share` of the ordinary tokens is chosen. Of these, 8 in 10 become [MASK], 1 in 10 another token, and 1 in 10
    stays as it is. Their targets are the true tokens; all other targets are -100, which the loss leaves out.
    """
    if not 0 < share < 1:
        raise InputError("a share between 0 and 1", got=repr(share), hint="share=0.15, as in BERT")
    if tokenizer.mask_token_id is None:
        raise InputError("a tokeniser with a token that hides others, such as [MASK]", got="one without")
    special = torch.tensor(sorted(tokenizer.all_special_ids))
    mask, size = tokenizer.mask_token_id, len(tokenizer)
    first = int(special.max()) + 1 if special.tolist() == list(range(len(special))) else 0

    def mask_tokens(ids: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        chosen = (torch.rand(ids.shape, generator=generator) < share) & ~torch.isin(ids, special)
        lot = torch.rand(ids.shape, generator=generator)
        other = torch.randint(first, size, ids.shape, generator=generator)
        inputs = torch.where(chosen & (lot < 0.8), mask, ids)
        inputs = torch.where(chosen & (lot >= 0.9), other, inputs)
        return inputs, torch.where(chosen, ids, IGNORED)

    return mask_tokens
