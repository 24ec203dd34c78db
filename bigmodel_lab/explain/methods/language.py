"""Which tokens of a prompt made a language model write what it wrote.

Sources: Miglani et al. (2023), Using Captum to explain generative language models, arXiv 2312.05491; Captum's
FeatureAblation, ShapleyValueSampling and KernelShap. Captum's LLMAttribution gives the same numbers one prompt at a
time; here the changed prompts go through the model together, and KernelShap too explains each new token.
Dimension letters: T tokens of the prompt, P of them players, N new tokens, V vocabulary, R changed prompts.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from captum.attr import FeatureAblation, KernelShap, ShapleyValueSampling
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import Explanation, Run, Scores, checks
from bigmodel_lab.explain.contract.restore import unchanged

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["TextExplanation", "llm_attribution"]

Value = Callable[[Tensor], Tensor]  # which players are there (R, P) -> log-probabilities of the new tokens (R, N)


@dataclass(frozen=True, kw_only=True, eq=False)
class TextExplanation(Explanation):
    """An explanation of what was written: values (N, T), one row per new token, one column per token of the prompt."""

    prompt: tuple[str, ...]  # T tokens as text
    new: tuple[str, ...]  # N tokens as text


def llm_attribution(
    forward: nn.Module,
    inputs: str | Tensor,
    target: str | Tensor | None = None,
    baseline: int | None = None,
    *,
    tokenizer: "PreTrainedTokenizerBase",
    method: str = "ablation",
    new_tokens: int = 8,
    samples: int = 64,
    seed: int = 0,
    chunk: int = 64,
) -> TextExplanation:
    """Return how much each token of a prompt adds to the log-probability (nats) of each new token: values (N, T).

    `forward` is a causal model of Hugging Face, or any that maps ids (B, T) to logits (B, T, V). `inputs` is the
    prompt and `target` its continuation, as text or as ids; left out, the model writes up to `new_tokens`, each time
    the likeliest. `baseline` is the id that stands for a token that is not there. Special tokens are left in place and
    get 0. `method` is one of

    - "ablation": the fall of the log-probability when one token is replaced;
    - "shapley": Shapley values from `samples` random orders; - "kernel_shap": from `samples` random coalitions.
      Both sum to the fall when all tokens are replaced; the gap (N,) says how nearly.

    Earlier new tokens stay as they are. `chunk` prompts go through the model at once, fewer where memory is short: then
    the notes say so.
    """
    started = time.perf_counter()
    if method not in ("ablation", "kernel_shap", "shapley"):
        raise InputError('a method among "ablation", "shapley", "kernel_shap"', got=repr(method))
    if min(new_tokens, samples, chunk) < 1:
        got = f"new_tokens={new_tokens}, samples={samples}, chunk={chunk}"
        raise InputError("at least one new token, sample and row", got=got)
    if not isinstance(forward, nn.Module):
        raise InputError("a causal language model, an nn.Module", got=type(forward).__name__)
    prompt = _prompt(inputs, tokenizer)
    with unchanged(forward), torch.inference_mode(False), torch.no_grad():
        device = next((p.device for p in forward.parameters()), prompt.device)
        prompt = prompt.to(device)
        base = checks.full_baseline(prompt, baseline, needed=True)
        checks.check_model(forward, prompt, None)
        counted = _Counted(forward)
        new = _continuation(counted, prompt, target, new_tokens, tokenizer)
        counted.check_length(prompt.shape[1] + new.shape[1])
        players = ~torch.isin(prompt[0], torch.tensor(tokenizer.all_special_ids, device=device))
        if not players.any():
            raise InputError("a prompt with a token that is not special", got="special tokens alone")

        nothing = torch.zeros(1, device=device)
        run = Run("llm_attribution", Scores(forward), prompt, prompt, base, base, None, nothing, started)
        chunks = _Chunks(run, lambda prompts: counted.log_probabilities(prompts, new), chunk)

        def value(there: Tensor) -> Tensor:
            keep = torch.ones(len(there), prompt.shape[1], dtype=torch.bool, device=device)
            keep[:, players] = there.bool()
            return chunks(torch.where(keep, prompt, base))

        everyone = torch.ones(1, int(players.sum()), device=device)
        with torch.random.fork_rng(devices=[]):
            found = _ATTRIBUTE[method](value, everyone, samples, chunk, seed)  # (N, P)
        values = found.new_zeros(new.shape[1], prompt.shape[1])
        values[:, players] = found
        gap = None
        if method != "ablation":
            gap = values.sum(1) - (value(everyone) - value(0 * everyone))[0]
    return TextExplanation(
        method=f"llm_attribution, {method}",
        values=values,
        gap=gap,
        forwards=counted.forwards,
        backwards=0,
        seconds=time.perf_counter() - started,
        notes=tuple(run.notes),
        prompt=tuple(tokenizer.decode([i]) for i in prompt[0].tolist()),
        new=tuple(tokenizer.decode([i]) for i in new[0].tolist()),
    )


class _Counted:
    """The model as a function of ids alone; counts the rows it is given."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.forwards = model, 0
        self.writes = hasattr(model, "prepare_inputs_for_generation")  # a causal model of Hugging Face

    def __call__(self, ids: Tensor) -> Tensor:
        """Return the logits (R, T, V) after each token of ids (R, T)."""
        self.forwards += len(ids)
        # all tokens are looked at, also those that stand for none
        options = {"attention_mask": torch.ones_like(ids), "use_cache": False} if self.writes else {}
        output = self.model(ids, **options)
        logits = getattr(output, "logits", output)
        if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[:2] != ids.shape:
            got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
            raise InputError("a causal language model: ids (B, T) -> logits (B, T, V)", got=got)
        return logits

    def log_probabilities(self, prompts: Tensor, new: Tensor) -> Tensor:
        """Return ln p of each of the new tokens (1, N) after each of the prompts (R, T): (R, N)."""
        new, length = new.expand(len(prompts), -1), prompts.shape[1]
        logits = self(torch.cat([prompts, new], 1))[:, length - 1 : -1]  # (R, N, V)
        return logits.log_softmax(-1).gather(2, new[..., None])[..., 0]

    def check_length(self, length: int) -> None:
        most = getattr(getattr(self.model, "config", None), "max_position_embeddings", None)
        if most is not None and length > most:
            raise InputError(f"at most {most} tokens, prompt and continuation together", got=f"{length}")


class _Chunks:
    """A function of rows, called with few enough of them to fit into memory; it remembers how many that are."""

    def __init__(self, run: Run, function: Callable[[Tensor], Tensor], most: int) -> None:
        self.run, self.function, self.most = run, function, most

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the function of rows (R, ...), joined."""

        def work(start: int, stop: int) -> Tensor:
            found = self.function(rows[start:stop])
            if stop < len(rows):
                self.most = stop - start  # a whole chunk: no more than this next time
            return found

        return torch.cat(self.run.chunks(len(rows), self.most, work))


def _prompt(inputs: str | Tensor, tokenizer: "PreTrainedTokenizerBase") -> Tensor:
    """Return the prompt as ids (1, T), without the special tokens that would end it."""
    if isinstance(inputs, str):
        ids = tokenizer(inputs)["input_ids"]
        while ids and ids[-1] in tokenizer.all_special_ids and len(ids) > 1:
            ids = ids[:-1]
        inputs = torch.tensor([ids], dtype=torch.long)
    if not isinstance(inputs, Tensor) or inputs.is_floating_point() or inputs.ndim != 2 or len(inputs) != 1:
        got = f"{inputs.dtype} of shape {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else type(inputs).__name__
        raise InputError("one prompt, as text or as ids (1, T)", got=got, hint="one prompt at a time")
    if not inputs.numel():
        raise InputError("a prompt of at least one token", got="an empty one")
    return inputs.long()


def _continuation(
    model: _Counted, prompt: Tensor, target: str | Tensor | None, count: int, tokenizer: "PreTrainedTokenizerBase"
) -> Tensor:
    """Return the new tokens (1, N): those asked about, or the likeliest ones, up to an end-of-text token."""
    if target is None:
        model.check_length(prompt.shape[1] + count)
        ids = prompt
        for _ in range(count):
            ids = torch.cat([ids, model(ids)[:, -1:].argmax(-1)], 1)
            if ids[0, -1].item() in (tokenizer.eos_token_id, tokenizer.sep_token_id):
                break
        return ids[:, prompt.shape[1] :]
    if isinstance(target, str):
        target = torch.tensor(tokenizer(target, add_special_tokens=False)["input_ids"], dtype=torch.long)
    if not isinstance(target, Tensor) or target.is_floating_point() or not target.numel() or target.ndim > 2:
        got = f"{target.dtype} of shape {tuple(target.shape)}" if isinstance(target, Tensor) else type(target).__name__
        raise InputError("a continuation of at least one token, as text or as ids (N,)", got=got)
    return target.reshape(1, -1).long().to(prompt.device)


def _ablation(value: Value, everyone: Tensor, samples: int, chunk: int, seed: int) -> Tensor:
    return FeatureAblation(value).attribute(everyone, perturbations_per_eval=chunk)


def _shapley(value: Value, everyone: Tensor, samples: int, chunk: int, seed: int) -> Tensor:
    torch.manual_seed(seed)
    options = {"n_samples": samples, "perturbations_per_eval": chunk}
    return ShapleyValueSampling(value).attribute(everyone, **options)[0]


def _kernel_shap(value: Value, everyone: Tensor, samples: int, chunk: int, seed: int) -> Tensor:
    known = {}

    def remembered(there: Tensor) -> Tensor:
        """All new tokens are asked about the same coalitions: each goes through the model once."""
        keys = [bytes(row) for row in there.bool().cpu().numpy()]
        new = {key: n for n, key in enumerate(keys) if key not in known}
        if new:
            known.update(zip(new, value(there[list(new.values())]), strict=True))
        return torch.stack([known[key] for key in keys])

    rows = []
    for n in range(remembered(everyone).shape[1]):
        torch.manual_seed(seed)
        method = KernelShap(lambda there, n=n: remembered(there)[:, n])
        rows.append(method.attribute(everyone, n_samples=samples, perturbations_per_eval=chunk)[0])
    return torch.stack(rows)


_ATTRIBUTE = {"ablation": _ablation, "kernel_shap": _kernel_shap, "shapley": _shapley}
