"""Decoder: a GPT, which predicts each token from those before it.

Sources: Radford et al. (2019), "Language models are unsupervised multitask learners" (GPT-2); nanoGPT's model.py.
Dimension letters: B batch, T tokens, C width, V vocabulary.
"""

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.attention import KVCache
from bigmodel_lab.models.transformer import checks
from bigmodel_lab.models.transformer.blocks import Embedding, Stack, draw_weights
from bigmodel_lab.models.transformer.config import TransformerConfig


class Decoder(nn.Module):
    """Token ids (B, T) -> logits (B, T, V); those at place t predict token t + 1 and depend on tokens 0 to t only.

    So padding at the end changes no real token's logits; give it the target -100. Weights are drawn as GPT-2's.
    """

    def __init__(self, config: TransformerConfig) -> None:
        """Build the model; with `config.tied`, the output layer and the embedding share one matrix."""
        super().__init__()
        self.config = config
        self.embed, self.stack = Embedding(config, config.context), Stack(config, causal=True)
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        draw_weights(self, config, std=0.02)
        if config.tied:
            self.head.weight = self.embed.tokens.weight

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (B, T) to logits (B, T, V)."""
        return self.head(self.states(ids))

    def states(self, ids: Tensor, *, cache: list[KVCache] | None = None) -> Tensor:
        """Map ids (B, T) to states (B, T, C); with `cache`, ids are the tokens that follow those seen before."""
        first = cache[0].length if cache else 0
        ids = checks.token_ids(ids, self.config.vocabulary, self.config.context - first)
        return self.stack(self.embed(ids, first), cache=cache)

    def new_cache(self) -> list[KVCache]:
        """Return an empty cache, one KVCache a block, for `states`."""
        return [KVCache(self.config.context) for _ in self.stack.blocks]

    @classmethod
    def from_gpt2(cls, model: nn.Module) -> "Decoder":
        """Return a Decoder with copies of the weights of a Hugging Face `GPT2LMHeadModel`: equal logits.

        It comes in evaluation mode, on the device and in the type of `model`, with one dropout, `resid_pdrop`.
        """
        config = _config_from_gpt2(model)
        theirs = model.state_dict()
        decoder = cls(config).to(theirs["lm_head.weight"])  # its device and type, before anything is copied
        ours = {"embed.tokens.weight": theirs["transformer.wte.weight"]}
        ours |= {"embed.positions.table": theirs["transformer.wpe.weight"], "head.weight": theirs["lm_head.weight"]}
        for kind in ("weight", "bias"):
            ours[f"stack.norm.{kind}"] = theirs[f"transformer.ln_f.{kind}"]
            for layer in range(config.depth):
                for mine, name in _NAMES.items():
                    value = theirs[f"transformer.h.{layer}.{name}.{kind}"]
                    turned = value.ndim == 2  # GPT-2 stores (inputs, outputs), nn.Linear (outputs, inputs)
                    ours[f"stack.blocks.{layer}.{mine}.{kind}"] = value.T if turned else value
        decoder.load_state_dict(ours)
        return decoder.eval()


_NAMES = {
    "norm_attention": "ln_1",
    "attention.qkv": "attn.c_attn",
    "attention.out": "attn.c_proj",
    "norm_mlp": "ln_2",
    "mlp.0": "mlp.c_fc",
    "mlp.2": "mlp.c_proj",
}

_ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}


def _config_from_gpt2(model: nn.Module) -> TransformerConfig:
    theirs = getattr(model, "config", None)
    if getattr(theirs, "model_type", None) != "gpt2" or not hasattr(model, "lm_head"):
        raise InputError("a transformers.GPT2LMHeadModel", got=type(model).__name__)
    inner = theirs.n_inner or 4 * theirs.n_embd
    plain = theirs.activation_function in _ACTIVATIONS and theirs.layer_norm_epsilon == 1e-5
    if not plain or not theirs.scale_attn_weights or theirs.scale_attn_by_inverse_layer_idx or inner % theirs.n_embd:
        raise InputError(
            "GPT-2 as published (GELU, layer_norm_epsilon=1e-5, scaled attention, n_inner a multiple of n_embd)",
            got=repr(theirs.to_diff_dict()),
        )
    return TransformerConfig(
        vocabulary=theirs.vocab_size,
        context=theirs.n_positions,
        width=theirs.n_embd,
        heads=theirs.n_head,
        depth=theirs.n_layer,
        factor=inner // theirs.n_embd,
        activation=_ACTIVATIONS[theirs.activation_function],
        dropout=theirs.resid_pdrop,
        tied=torch.equal(model.lm_head.weight, model.transformer.wte.weight),
        padding=None,
    )
