"""Writing text, token after token: by chance (temperature, top-k, top-p) or always the likeliest.

Dimension letters: B batch, T tokens, S source tokens, V vocabulary.
"""

from collections.abc import Callable
from functools import partial
from numbers import Integral

import torch
from torch import Generator, Tensor

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.sampling import check_sampling, draw, evaluating
from bigmodel_lab.models.transformer import checks
from bigmodel_lab.models.transformer.decoder import Decoder
from bigmodel_lab.models.transformer.encoder_decoder import EncoderDecoder


@torch.no_grad()
def generate(
    model: Decoder,
    prompt: Tensor,
    new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: Generator | None = None,
    cache: bool = True,
    stop: int | None = None,
) -> Tensor:
    """Return `prompt` (B, T) followed by `new_tokens` tokens, (B, T + new_tokens); prompts have no padding.

    - `temperature`, `top_k`, `top_p`, `generator`: how a token is drawn, see `models.sampling.draw`.
    - `cache`: keep keys and values, so that each step computes one token; without it, the same tokens come slower.
    - `stop`: a token that ends a text; the rest of its row is filled with it, and all ends when every row has it.

    Prompt and new tokens must fit the model's context. The model runs in evaluation mode and keeps the mode it had.
    """
    check_sampling(temperature, top_k, top_p)
    checks.token_ids(prompt, model.config.vocabulary, model.config.context)
    _check_room(prompt.shape[1], new_tokens, model.config.context)
    _check_stop(stop, model.config.vocabulary)
    memory = model.new_cache() if cache else None

    def next_logits(ids: Tensor) -> Tensor:
        seen = memory[0].length if memory else 0
        return model.head(model.states(ids[:, seen:], cache=memory)[:, -1])  # (B, T, C) -> (B, C) -> (B, V)

    choose = partial(draw, temperature=temperature, top_k=top_k, top_p=top_p, generator=generator)
    with evaluating(model):
        return _write(next_logits, choose, prompt, new_tokens, stop)


@torch.no_grad()
def translate(
    model: EncoderDecoder, source: Tensor, *, start: int, stop: int | None = None, new_tokens: int | None = None
) -> Tensor:
    """Return the likeliest target, token by token, for source (B, S): (B, up to new_tokens), without `start`.

    A text ends with the token `stop`; the rest of its row is filled with it. `new_tokens` is at most, and by default,
    the model's context.
    """
    config = model.config
    if source.ndim == 2 and source.shape[1] != config.source_length:
        got = f"{source.shape[1]} tokens"
        raise InputError(f"sources of {config.source_length} tokens, filled up with padding", got=got)
    checks.token_ids(source, config.vocabulary, config.source_length)
    new_tokens = config.context if new_tokens is None else new_tokens
    _check_room(0, new_tokens, config.context)
    _check_stop(stop, config.vocabulary)
    begin = torch.full((len(source), 1), start, device=source.device)
    checks.token_ids(begin, config.vocabulary, config.context)
    with evaluating(model):
        memory, mask, cache = model.encoder(source), model.encoder.mask(source), model.new_cache()

        def next_logits(ids: Tensor) -> Tensor:
            return model.head(model.states(ids[:, cache[0].length :], memory, mask, cache=cache)[:, -1])  # (B, V)

        return _write(next_logits, lambda logits: logits.argmax(-1), begin, new_tokens, stop)[:, 1:]


def _write(
    next_logits: Callable[[Tensor], Tensor],
    choose: Callable[[Tensor], Tensor],
    ids: Tensor,
    new_tokens: int,
    stop: int | None,
) -> Tensor:
    """Append to ids (B, T) what `choose` makes, (B,), of the logits (B, V) of what stands there."""
    done = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    for _ in range(new_tokens):
        token = choose(next_logits(ids))
        if stop is not None:
            token = token.masked_fill(done, stop)
            done |= token == stop
        ids = torch.cat((ids, token[:, None]), 1)
        if stop is not None and done.all():
            break
    return ids


def _check_room(length: int, new_tokens: int, context: int) -> None:
    if not isinstance(new_tokens, Integral) or new_tokens < 0 or length + new_tokens > context:
        raise InputError(
            f"a prompt and new_tokens >= 0 that fit the context of {context} together",
            got=f"{length} and {new_tokens} tokens",
            hint=f"new_tokens={max(context - length, 0)}, or a shorter prompt, prompt[:, -n:]",
        )


def _check_stop(stop: int | None, vocabulary: int) -> None:
    if stop is not None and not (isinstance(stop, Integral) and 0 <= stop < vocabulary):
        raise InputError(f"stop, a token id from 0 to {vocabulary - 1}, or None", got=repr(stop))
