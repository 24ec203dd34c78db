"""The public language model, GPT-2, for the same code as the course's mini-gpt.

Source: Radford et al. (2019), Language models are unsupervised multitask learners; the `transformers` library.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from bigmodel_lab.errors import CheckpointError
from bigmodel_lab.models.hub import MODELS, load, part

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["language_model"]


def language_model(folder: str | Path | None = None) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    """Return (model, tokenizer) of a causal language model, the model in evaluation mode.

    From `folder`, or if None GPT-2 from the hub or its copy on this machine. `model(ids).logits` (B, T, V) are the
    scores of the token after each of ids (B, T); a text begins with the token `model.config.bos_token_id`, which is
    there whatever the tokenizer does by itself. Raises `CheckpointError` if files are missing or broken, if the
    tokenizer has tokens that the model does not know, and if the model has no token to begin with.
    """
    tokenizer = part("generation", "AutoTokenizer", folder)
    model = load("generation", "AutoModelForCausalLM", folder)
    where = MODELS["generation"].name if folder is None else str(folder)
    known = model.get_input_embeddings().num_embeddings
    if not len(tokenizer.all_special_ids) < len(tokenizer) <= known:  # without its files it has special tokens alone
        raise CheckpointError(
            f"a tokenizer of at most {known} tokens in {where}, those that the model knows, and more than special ones",
            got=f"{len(tokenizer)} tokens",
            hint="the tokenizer's files lie beside the model's and come from the same checkpoint",
        )
    if not isinstance(model.config.bos_token_id, int):
        raise CheckpointError(
            f"the id of the token that begins a text, bos_token_id, in the config of {where}",
            got=repr(model.config.bos_token_id),
            hint="GPT-2 begins with its end-of-text token, 50256",
        )
    return model, tokenizer
