"""Large models from 2012 to 2025: when, how large, how much computing, how much data, and who says so.

Each figure is the makers', or is counted from what they publish, or is an estimate, and says which. Where careful
sources differ, `others` keeps what they say. Sources: the papers, by their keys in book/references.bib, and Epoch AI's
data on notable models (epoch.ai/data, CC BY 4.0), `epoch2024data`. N parameters, D tokens, C floating point operations.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from bigmodel_lab.errors import InputError

__all__ = ["BASES", "FIELDS", "ILSVRC", "MODELS", "Model", "Winner", "frontier", "named"]

FIELDS = ("vision", "language", "both", "speech")
BASES = ("stated", "counted", "estimate")
EPOCH, D1 = "epoch2024data", "brown2020gpt3"  # table D.1 of the latter recounts older models


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model. A number that nobody published, or that is not certain, is None."""

    name: str
    day: date  # first made public: arXiv, or the makers' own page if that was earlier
    field: str  # one of FIELDS
    parameters: float | None
    active: float | None = None  # parameters that one token meets, in a mixture of experts
    flops: float  # operations of the whole training
    basis: str  # where `flops` is from: the makers "stated" it; "counted" from published sizes; "estimate" of others
    tokens: float | None = None  # seen in training, repetitions included
    images: float | None = None  # seen in training, repetitions included; pairs for image and text
    rate: float = 6  # operations a parameter and token; 3 where a token passes one half, encoder or decoder
    source: str  # key of the paper
    flops_source: str = ""  # key of who gives `flops`, if not the paper
    link: str
    others: tuple[tuple[float, str], ...] = ()  # other figures for `flops`, each with the key of its source

    def __post_init__(self) -> None:
        """Refuse a row that cannot be right."""
        if self.field not in FIELDS or self.basis not in BASES:
            raise InputError(f"a field of {FIELDS} and a basis of {BASES}", got=f"{self.field}, {self.basis}")
        sizes = (self.parameters, self.active, self.flops, self.tokens, self.images, *(c for c, _ in self.others))
        if any(size is not None and not size > 0 for size in sizes) or (self.active or 0) > (self.parameters or 1e99):
            raise InputError(
                "positive sizes, and no more active parameters than there are", got=f"{self.name}: {sizes}"
            )

    @property
    def year(self) -> float:
        """The date as a number of years: 2018.5 is the middle of 2018."""
        start, end = date(self.day.year, 1, 1), date(self.day.year + 1, 1, 1)
        return self.day.year + (self.day - start) / (end - start)

    @property
    def arxiv(self) -> str | None:
        """The paper's number on arXiv, whose first four digits are the year and month of its arrival."""
        return self.link.rpartition("/")[2] if "arxiv.org/abs/" in self.link else None

    @property
    def by_rule(self) -> float | None:
        """Operations by the rule C ≈ 6·N·D (Kaplan et al. 2020), with the active parameters; None without tokens."""
        size = self.active or self.parameters
        return None if self.tokens is None or size is None else self.rate * size * self.tokens


@dataclass(frozen=True)
class Winner:
    """The best entry of one year's ImageNet challenge in classification."""

    year: int
    name: str
    top5: float  # error in per cent: the right one of 1000 classes is not among five guesses
    convolutional: bool
    source: str


def _model(name: str, day: str, field: str, parameters: float | None, flops: float, basis: str, **more) -> Model:
    link = more.pop("link", "")
    link = link if link.startswith("https") else f"https://arxiv.org/abs/{link}"
    return Model(
        name=name,
        day=date.fromisoformat(day),
        field=field,
        parameters=parameters,
        flops=flops,
        basis=basis,
        link=link,
        **more,
    )


NIPS_2012 = "https://papers.nips.cc/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html"
GPT1 = "https://openai.com/index/language-unsupervised/"
GPT2 = "https://openai.com/index/better-language-models/"

# fmt: off
MODELS: tuple[Model, ...] = (
    _model("AlexNet", "2012-09-30", "vision", 60e6, 4.7e17, "counted", images=90 * 1.2e6,  # passes × images
           source="krizhevsky2012alexnet", flops_source=EPOCH, link=NIPS_2012),
    _model("VGG-16", "2014-09-04", "vision", 138e6, 1.23e19, "estimate", images=370e3 * 256,  # steps × batch
           source="simonyan2015vgg", flops_source=EPOCH, link="1409.1556"),
    _model("GoogLeNet", "2014-09-17", "vision", 6.8e6, 1.5e18, "estimate",
           source="szegedy2015googlenet", flops_source=EPOCH, link="1409.4842"),
    _model("ResNet-152", "2015-12-10", "vision", 60.2e6, 1.04e19, "counted", images=600e3 * 256,
           source="he2016resnet", flops_source=EPOCH, link="1512.03385"),
    _model("Transformer (big)", "2017-06-12", "language", 213e6, 7.4e18, "estimate", tokens=300e3 * 50e3, rate=3,
           source="vaswani2017attention", flops_source=EPOCH, link="1706.03762",
           others=((2.3e19, "vaswani2017attention"),)),  # table 2: hours × an assumed rate of the GPUs
    _model("GPT-1", "2018-06-11", "language", 117e6, 8.3e19, "stated",  # 0.96 petaflop/s-days on the makers' page
           source="radford2018gpt", link=GPT1, others=((1.76e19, EPOCH), (5.7e19, "gholami2024memory"))),
    _model("BERT-Large", "2018-10-11", "language", 340e6, 2.85e20, "counted", tokens=128e3 * 1e6,  # at most: §A.2
           source="devlin2019bert", flops_source=EPOCH, link="1810.04805",
           others=((5.33e20, D1), (2.5e20, "gholami2024memory"))),
    _model("GPT-2", "2019-02-14", "language", 1.5e9, 1.9e21, "estimate",
           source="radford2019gpt2", flops_source=EPOCH, link=GPT2),
    _model("RoBERTa-Large", "2019-07-26", "language", 355e6, 4.26e21, "counted", tokens=500e3 * 8192 * 512,
           source="liu2019roberta", flops_source=D1, link="1907.11692", others=((8.5e21, EPOCH),)),
    _model("Megatron-LM", "2019-09-17", "language", 8.3e9, 9.1e21, "counted", tokens=300e3 * 512 * 1024,
           source="shoeybi2019megatron", flops_source=EPOCH, link="1909.08053"),
    _model("T5-11B", "2019-10-23", "language", 11e9, 3.3e22, "counted", tokens=1e12, rate=3,
           source="raffel2020t5", flops_source=D1, link="1910.10683"),
    _model("GPT-3", "2020-05-28", "language", 175e9, 3.14e23, "stated", tokens=300e9,
           source="brown2020gpt3", link="2005.14165"),
    _model("ViT-Huge/14", "2020-10-22", "vision", 632e6, 4.26e21, "estimate",
           source="dosovitskiy2021vit", flops_source=EPOCH, link="2010.11929"),
    _model("CLIP ViT-L/14@336", "2021-01-05", "both", 428e6, 1.05e22, "estimate", images=32 * 400e6,
           source="radford2021clip", flops_source=EPOCH, link="2103.00020"),
    _model("Switch-C", "2021-01-11", "language", 1.571e12, 8.2e22, "estimate",
           source="fedus2022switch", flops_source=EPOCH, link="2101.03961"),
    _model("Gopher", "2021-12-08", "language", 280e9, 6.31e23, "stated", tokens=300e9,
           source="rae2021gopher", link="2112.11446"),
    _model("Chinchilla", "2022-03-29", "language", 70e9, 5.76e23, "stated", tokens=1.4e12,
           source="hoffmann2022chinchilla", link="2203.15556"),
    _model("PaLM", "2022-04-04", "language", 540e9, 2.53e24, "stated", tokens=780e9,
           source="chowdhery2023palm", link="2204.02311"),
    _model("OPT-175B", "2022-05-02", "language", 175e9, 4.3e23, "stated", tokens=300e9,  # activations computed twice
           source="zhang2022opt", link="2205.01068"),
    _model("BLOOM-176B", "2022-07-12", "language", 176e9, 3.66e23, "counted", tokens=366e9,
           source="workshop2022bloom", flops_source=EPOCH, link="2211.05100"),
    _model("Whisper large", "2022-09-21", "speech", 1.55e9, 4.2e21, "estimate",
           source="radford2023whisper", flops_source=EPOCH, link="2212.04356"),
    _model("LLaMA-65B", "2023-02-24", "language", 65.2e9, 5.5e23, "counted", tokens=1.4e12,
           source="touvron2023llama", flops_source=EPOCH, link="2302.13971"),
    _model("GPT-4", "2023-03-14", "both", None, 2.1e25, "estimate",
           source="openai2023gpt4", flops_source=EPOCH, link="2303.08774"),
    _model("Llama 2-70B", "2023-07-18", "language", 70e9, 8.1e23, "counted", tokens=2e12,
           source="touvron2023llama2", flops_source=EPOCH, link="2307.09288"),
    _model("Mixtral 8x7B", "2023-12-11", "language", 46.7e9, 7.7e23, "estimate", active=12.9e9,
           source="jiang2024mixtral", flops_source=EPOCH, link="2401.04088"),
    _model("Llama 3.1-405B", "2024-07-23", "language", 405e9, 3.8e25, "stated", tokens=15.6e12,
           source="grattafiori2024llama3", link="2407.21783"),
    _model("DeepSeek-V3", "2024-12-26", "language", 671e9, 3.4e24, "counted", active=37e9, tokens=14.8e12,
           source="deepseek2024v3", flops_source=EPOCH, link="2412.19437"),
    _model("DeepSeek-R1", "2025-01-20", "language", 671e9, 4.0e24, "estimate", active=37e9,
           source="deepseek2025r1", flops_source=EPOCH, link="2501.12948"),
    _model("Qwen3-235B-A22B", "2025-04-28", "language", 235e9, 4.8e24, "counted", active=22e9, tokens=36e12,
           source="yang2025qwen3", flops_source=EPOCH, link="2505.09388"),
)

ILSVRC: tuple[Winner, ...] = (  # 100 000 test images since 2011
    Winner(2010, "NEC-UIUC", 28.2, False, "russakovsky2015imagenet"),
    Winner(2011, "XRCE", 25.8, False, "russakovsky2015imagenet"),
    Winner(2012, "AlexNet", 15.3, True, "krizhevsky2012alexnet"),  # 16.4 without further images; runner-up 26.2
    Winner(2013, "Clarifai", 11.7, True, "russakovsky2015imagenet"),
    Winner(2014, "GoogLeNet", 6.7, True, "russakovsky2015imagenet"),
    Winner(2015, "ResNet", 3.57, True, "he2016resnet"),
)
# fmt: on


def named(name: str) -> Model:
    """Return the row of `MODELS` called `name`."""
    for model in MODELS:
        if model.name == name:
            return model
    raise InputError(f"a name among {', '.join(model.name for model in MODELS)}", got=repr(name))


def frontier(models: Iterable[Model] = MODELS) -> tuple[Model, ...]:
    """Return those of `models` that took more computing than every earlier one, oldest first."""
    records: list[Model] = []
    for model in sorted(models, key=lambda one: one.day):
        if not records or model.flops > records[-1].flops:
            records.append(model)
    return tuple(records)
