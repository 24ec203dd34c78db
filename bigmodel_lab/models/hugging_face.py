"""Hugging Face's models as ordinary modules: token ids in, one tensor out; and small ones built from a config.

Sources: Devlin et al. (2019), BERT, NAACL, arXiv 1810.04805; Radford et al. (2019), GPT-2; the `transformers` library.
Dimension letters: B batch, T tokens, C channels, K classes, V vocabulary.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError

if TYPE_CHECKING:
    from transformers import BertForSequenceClassification, GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Logits", "quiet", "small_bert", "small_gpt2"]


class Logits(nn.Module):
    """A Hugging Face model as a function of token ids alone: (B, T) -> its logits, (B, K) or (B, T, V).

    The attention mask is made from the ids: 1 where a token is not `pad`. Padding stands at the end of a text.
    All tokens are of the first segment, as in tasks about one text. What is wrapped is `.model`, with
    `save_pretrained` and the rest.
    """

    def __init__(self, model: "PreTrainedModel", pad: int | None = None) -> None:
        """Wrap `model`; `pad` is the id of the padding, None for the one in its config (no mask if it has none)."""
        super().__init__()
        self.model = model
        self.pad = getattr(model.config, "pad_token_id", None) if pad is None else pad
        # A cache of keys and values serves generation; here it would only be copied.
        takes = inspect.signature(model.forward).parameters
        self.options = {"use_cache": False} if "use_cache" in takes else {}

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (B, T) to logits. Raises `InputError` for ids that are no text of this model."""
        self._check(ids)
        return self.model(input_ids=ids, attention_mask=self.mask(ids), **self.options).logits

    def mask(self, ids: Tensor) -> Tensor | None:
        """Return what may be attended to: int64 (B, T), 1 for tokens and 0 for padding; None without padding."""
        return None if self.pad is None else (ids != self.pad).long()

    def embed(self, ids: Tensor) -> Tensor:
        """Return the input embeddings of ids (B, T), before positions are added: (B, T, C)."""
        self._check(ids)
        return self.model.get_input_embeddings()(ids)

    def from_embeddings(self, embeddings: Tensor, ids: Tensor) -> Tensor:
        """Return the logits of `embeddings` (B, T, C); `ids` (B, T) only tell where the padding is.

        So `from_embeddings(embed(ids), ids)` is `forward(ids)`, and an explanation may change what lies between.
        """
        self._check(ids)
        if embeddings.shape[:2] != ids.shape:
            raise InputError(f"embeddings of shape {(*ids.shape, 'C')}", got=f"shape {tuple(embeddings.shape)}")
        return self.model(inputs_embeds=embeddings, attention_mask=self.mask(ids), **self.options).logits

    def _check(self, ids: Tensor) -> None:
        """Refuse what is not a batch of texts. Values are looked at on a CPU only: a GPU would have to wait."""
        if not isinstance(ids, Tensor) or ids.ndim != 2 or ids.dtype not in (torch.int64, torch.int32):
            raise InputError(
                "token ids, integers (int64 or int32) of shape (B, T)",
                got=f"{ids.dtype} of shape {tuple(ids.shape)}" if isinstance(ids, Tensor) else type(ids).__name__,
                hint="ids.unsqueeze(0) for one text; ids.long() for other integers; "
                "from_embeddings(embeddings, ids) for embeddings",
            )
        if not ids.numel():
            raise InputError("at least one text of at least one token", got=f"ids of shape {tuple(ids.shape)}")
        longest = getattr(self.model.config, "max_position_embeddings", None)
        if longest is not None and ids.shape[1] > longest:
            raise InputError(
                f"at most {longest} tokens, the positions that the model knows",
                got=f"{ids.shape[1]}",
                hint=f"cut the texts when encoding them (length={longest}), or drop columns that are all padding",
            )
        if ids.device.type != "cpu":
            return
        known, low, high = self.model.get_input_embeddings().num_embeddings, int(ids.min()), int(ids.max())
        if low < 0 or high >= known:
            raise InputError(
                f"token ids from 0 to {known - 1}, the vocabulary of the model",
                got=f"ids from {low} to {high}",
                hint="use the tokenizer that belongs to the model (ignored places, -100, are for targets only)",
            )
        if self.pad is not None and bool((ids == self.pad).all(1).any()):
            raise InputError(
                "at least one token that is not padding in each text",
                got=f"{int((ids == self.pad).all(1).sum())} texts of padding (id {self.pad}) alone",
                hint="leave empty texts out",
            )


def small_bert(
    tokenizer: "PreTrainedTokenizerBase",
    *,
    width: int = 128,
    depth: int = 2,
    heads: int = 4,
    context: int = 128,
    classes: int = 2,
    dropout: float = 0.1,
) -> "BertForSequenceClassification":
    """Build an untrained BERT that tells `classes` classes apart, for the vocabulary of `tokenizer`.

    `width` is C, a multiple of `heads`; `depth` the layers, each with 4 C neurons; `context` the most tokens it reads.
    Attention runs by PyTorch's fused SDPA, without dropout of its own. Weights come from PyTorch's global generator.
    """
    from transformers import BertConfig, BertForSequenceClassification

    _check_sizes(tokenizer, width=width, depth=depth, heads=heads, context=context, classes=classes)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=context,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=0.0,
        num_labels=classes,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="sdpa",
    )
    return BertForSequenceClassification(config)


def small_gpt2(
    tokenizer: "PreTrainedTokenizerBase",
    *,
    width: int = 128,
    depth: int = 2,
    heads: int = 4,
    context: int = 128,
    dropout: float = 0.1,
) -> "GPT2LMHeadModel":
    """Build an untrained GPT-2 that continues texts, for the vocabulary of `tokenizer`; sizes as in `small_bert`."""
    from transformers import GPT2Config, GPT2LMHeadModel

    _check_sizes(tokenizer, width=width, depth=depth, heads=heads, context=context)
    first, last = tokenizer.bos_token_id, tokenizer.eos_token_id
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=width,
        n_layer=depth,
        n_head=heads,
        n_positions=context,
        embd_pdrop=dropout,
        resid_pdrop=dropout,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.cls_token_id if first is None else first,
        eos_token_id=tokenizer.sep_token_id if last is None else last,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="sdpa",
    )
    return GPT2LMHeadModel(config)


def _check_sizes(tokenizer: "PreTrainedTokenizerBase", **sizes: int) -> None:
    if min(sizes.values()) < 1 or sizes["width"] % sizes["heads"]:
        raise InputError(
            "sizes of at least 1, and a width that is a multiple of heads",
            got=", ".join(f"{name}={value}" for name, value in sizes.items()),
            hint="width=128, heads=4",
        )
    if tokenizer.pad_token_id is None:
        raise InputError(
            "a tokenizer with a padding token",
            got=f"{type(tokenizer).__name__} without one",
            hint='tokenizer.add_special_tokens({"pad_token": "[PAD]"})',
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep `transformers` from printing progress bars and reports in this block; errors are raised as ever."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
