"""Well-known models as their papers describe them: sizes to build each on the meta device, without its weights.

`build("gpt-3")` gives the module with the shape of every tensor and no numbers in it: parameters, operations and bytes
can be counted on a laptop, offline. Sizes are those of the papers and of the configurations released with the weights;
each entry names its paper. GPT-3's weights are not public; its table 2.1 fixes the sizes.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from bigmodel_lab.errors import InputError

__all__ = ["NAMES", "Published", "active_parameters", "build", "published"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a paper says of a model, and the sizes it takes to build it."""

    title: str
    month: str  # when it was first made public, "2018-10"
    architecture: str  # a class of transformers, or "AlexNet"
    depth: int  # layers with weights of a CNN, blocks of a Transformer
    width: int  # numbers per position between the blocks; of a CNN, the widest layer
    stated: float | None = None  # parameters that the paper states
    stated_active: float | None = None  # parameters per token that it states, for a mixture of experts
    tokens: float | None = None  # tokens seen in training; None where unpublished, or where the data are images
    flops: float | None = None  # operations of the training that the paper states
    settings: Mapping[str, Any] = field(default_factory=dict)  # further arguments of the configuration
    source: str  # address of the paper

    def __post_init__(self) -> None:
        """Make the settings read-only and refuse a month in another form."""
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))
        year, dash, month = self.month.partition("-")
        if not (dash and len(year) == 4 and year.isdigit() and month.isdigit() and 1 <= int(month) <= 12):
            raise InputError('a month such as "2018-10"', got=repr(self.month))

    @property
    def year(self) -> float:
        """The middle of the month as a number of years, 2018.79 for October 2018."""
        year, month = map(int, self.month.split("-"))
        return year + (month - 0.5) / 12


GPT2_PAPER = "https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf"

MODELS = {
    "alexnet": Published(
        title="AlexNet",
        month="2012-09",
        architecture="AlexNet",
        depth=8,
        width=4096,
        stated=60e6,
        source="https://papers.nips.cc/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html",
    ),
    "resnet-50": Published(
        title="ResNet-50",
        month="2015-12",
        architecture="ResNetForImageClassification",
        depth=50,
        width=2048,
        settings={"depths": [3, 4, 6, 3], "hidden_sizes": [256, 512, 1024, 2048], "num_labels": 1000},
        source="https://arxiv.org/abs/1512.03385",
    ),
    "bert-base": Published(
        title="BERT-Base",
        month="2018-10",
        architecture="BertModel",
        depth=12,
        width=768,
        stated=110e6,
        tokens=128_000 * 1_000_000,  # a batch × steps, as the paper puts it; most steps took shorter texts, so at most
        settings={"vocab_size": 30522, "num_attention_heads": 12, "intermediate_size": 3072},
        source="https://arxiv.org/abs/1810.04805",
    ),
    "bert-large": Published(
        title="BERT-Large",
        month="2018-10",
        architecture="BertModel",
        depth=24,
        width=1024,
        stated=340e6,
        tokens=128_000 * 1_000_000,  # as above
        settings={"vocab_size": 30522, "num_attention_heads": 16, "intermediate_size": 4096},
        source="https://arxiv.org/abs/1810.04805",
    ),
    "gpt-2": Published(
        title="GPT-2 small",
        month="2019-02",
        architecture="GPT2LMHeadModel",
        depth=12,
        width=768,
        stated=117e6,  # an error of the paper's, corrected by its authors beside the released weights: 124 million
        settings={"vocab_size": 50257, "num_attention_heads": 12, "n_positions": 1024},
        source=GPT2_PAPER,
    ),
    "gpt-2-xl": Published(
        title="GPT-2 XL",
        month="2019-02",
        architecture="GPT2LMHeadModel",
        depth=48,
        width=1600,
        stated=1542e6,
        settings={"vocab_size": 50257, "num_attention_heads": 25, "n_positions": 1024},
        source=GPT2_PAPER,
    ),
    "roberta-large": Published(
        title="RoBERTa-Large",
        month="2019-07",
        architecture="RobertaModel",
        depth=24,
        width=1024,
        stated=355e6,
        tokens=8192 * 512 * 500_000,  # texts × tokens × steps; texts of up to 512 tokens, so at most
        settings={
            "vocab_size": 50265,
            "num_attention_heads": 16,
            "intermediate_size": 4096,
            "max_position_embeddings": 514,
            "type_vocab_size": 1,
        },
        source="https://arxiv.org/abs/1907.11692",
    ),
    "gpt-3": Published(
        title="GPT-3",
        month="2020-05",
        architecture="GPT2LMHeadModel",
        depth=96,
        width=12288,
        stated=175e9,
        tokens=300e9,
        flops=3.14e23,
        settings={"vocab_size": 50257, "num_attention_heads": 96, "n_positions": 2048},
        source="https://arxiv.org/abs/2005.14165",
    ),
    "mixtral-8x7b": Published(
        title="Mixtral 8x7B",
        month="2023-12",
        architecture="MixtralForCausalLM",
        depth=32,
        width=4096,
        stated=47e9,
        stated_active=13e9,
        settings={
            "vocab_size": 32000,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "intermediate_size": 14336,
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
        },
        source="https://arxiv.org/abs/2401.04088",
    ),
    "llama-3.1-405b": Published(
        title="Llama 3.1 405B",
        month="2024-07",
        architecture="LlamaForCausalLM",
        depth=126,
        width=16384,
        stated=405e9,
        tokens=15.6e12,
        flops=3.8e25,
        settings={
            "vocab_size": 128256,
            "num_attention_heads": 128,
            "num_key_value_heads": 8,
            "intermediate_size": 53248,
        },
        source="https://arxiv.org/abs/2407.21783",
    ),
    "deepseek-v3": Published(
        title="DeepSeek-V3",
        month="2024-12",
        architecture="DeepseekV3ForCausalLM",
        depth=61,
        width=7168,
        stated=671e9,
        stated_active=37e9,
        tokens=14.8e12,
        settings={
            "vocab_size": 129280,
            "num_attention_heads": 128,
            "num_key_value_heads": 128,
            "intermediate_size": 18432,
            "moe_intermediate_size": 2048,
            "first_k_dense_replace": 3,
            "n_routed_experts": 256,
            "n_shared_experts": 1,
            "num_experts_per_tok": 8,
            "q_lora_rank": 1536,
            "kv_lora_rank": 512,
            "qk_nope_head_dim": 128,
            "qk_rope_head_dim": 64,
            "v_head_dim": 128,
        },
        source="https://arxiv.org/abs/2412.19437",
    ),
    "qwen3-235b-a22b": Published(
        title="Qwen3-235B-A22B",
        month="2025-04",
        architecture="Qwen3MoeForCausalLM",
        depth=94,
        width=4096,
        stated=235e9,
        stated_active=22e9,
        tokens=36e12,
        settings={
            "vocab_size": 151936,
            "num_attention_heads": 64,
            "num_key_value_heads": 4,
            "head_dim": 128,
            "intermediate_size": 12288,
            "moe_intermediate_size": 1536,
            "num_experts": 128,
            "num_experts_per_tok": 8,
        },
        source="https://arxiv.org/abs/2505.09388",
    ),
}
NAMES = tuple(MODELS)  # by month


def published(name: str) -> Published:
    """Return what the paper says of the model called `name`, one of `NAMES`."""
    if name not in MODELS:
        raise InputError(f"a name among {', '.join(NAMES)}", got=repr(name))
    return MODELS[name]


def build(name: str) -> nn.Module:
    """Return the model called `name`, one of `NAMES`, on the meta device: every shape, no numbers, no bytes.

    Needs the package transformers, except for "alexnet". Attention is written out (`eager`), so that a counter of
    operations sees its two products also on the meta device.
    """
    entry = published(name)
    if entry.architecture == "AlexNet":
        return alexnet()
    with warnings.catch_warnings():  # transformers imports tqdm's widgets, which miss ipywidgets; no bar is drawn here
        warnings.filterwarnings("ignore", message="IProgress not found")
        import transformers

        model = getattr(transformers, entry.architecture)
    settings = dict(entry.settings)
    if "hidden_sizes" not in settings:  # a Transformer
        settings |= {"hidden_size": entry.width, "num_hidden_layers": entry.depth, "attn_implementation": "eager"}
    with torch.device("meta"):
        return model(model.config_class(**settings))


def active_parameters(model: nn.Module) -> int:
    """Return how many parameters of a transformers model take part for one token.

    All of them, but for the routed experts of a mixture, of which k in E do (Shazeer et al. 2017, arXiv 1701.06538).
    """
    total = routed = 0
    for name, parameter in model.named_parameters():
        total += parameter.numel()
        routed += parameter.numel() * (".experts." in name)
    if not routed:
        return total
    names = ("n_routed_experts", "num_local_experts", "num_experts")
    experts = next(getattr(model.config, name) for name in names if hasattr(model.config, name))
    return total - routed + routed * model.config.num_experts_per_tok // experts


def alexnet() -> nn.Sequential:
    """Return AlexNet as in the paper, on the meta device: layers 2, 4 and 5 in two groups, one for each of its GPUs.

    Maps images (B, 3, 224, 224) to scores (B, 1000).
    """
    with torch.device("meta"):
        norm = {"size": 5, "alpha": 5e-4, "beta": 0.75, "k": 2.0}  # PyTorch divides alpha by size, the paper does not
        return nn.Sequential(
            *(nn.Conv2d(3, 96, 11, stride=4, padding=2), nn.ReLU(), nn.LocalResponseNorm(**norm), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), nn.LocalResponseNorm(**norm), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
            *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Flatten(), nn.Dropout(), nn.Linear(256 * 6 * 6, 4096), nn.ReLU()),
            *(nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)),
        )
