"""The public models that stand beside the course's small ones: what each is, its size, its licence, and reading it.

`load` reads a model, a tokeniser or a processor from a folder, or from the hub (`HF_ENDPOINT` names a mirror) and the
copy that it keeps on this machine. Parameters and sizes are those of the checkpoints' pages.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models.hugging_face import quiet

__all__ = ["MODELS", "PublicModel", "about", "load", "part"]


@dataclass(frozen=True)
class PublicModel:
    """One public checkpoint: its name on the hub, its size, and what it may be used for."""

    name: str  # on the Hugging Face hub
    title: str
    parameters: str
    size: str  # of the download
    licence: str

    @property
    def home(self) -> str:
        """The address of its page."""
        return f"https://huggingface.co/{self.name}"


MODELS: dict[str, PublicModel] = {
    "translation": PublicModel(
        "Helsinki-NLP/opus-mt-en-zh", "Marian, English to Chinese", "78 M", "310 MB", "CC BY 4.0"
    ),
    "summarisation": PublicModel("facebook/bart-large-cnn", "BART on CNN/DailyMail", "406 M", "1.6 GB", "MIT"),
    "image_text": PublicModel(
        "openai/clip-vit-base-patch32", "CLIP, ViT-B/32", "151 M", "605 MB", "MIT (code); the weights state none"
    ),
    "generation": PublicModel("openai-community/gpt2", "GPT-2, the smallest", "124 M", "550 MB", "MIT"),
    "sentiment": PublicModel(
        "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
        "DistilBERT on SST-2",
        "67 M",
        "270 MB",
        "Apache 2.0",
    ),
    "named_entities": PublicModel("dslim/bert-base-NER", "BERT on CoNLL-2003", "108 M", "430 MB", "MIT"),
    "recognition": PublicModel("microsoft/resnet-50", "ResNet-50 on ImageNet", "26 M", "100 MB", "Apache 2.0"),
    "detection": PublicModel("facebook/detr-resnet-50", "DETR on COCO", "42 M", "170 MB", "Apache 2.0"),
    "segmentation": PublicModel(
        "nvidia/segformer-b0-finetuned-ade-512-512",
        "SegFormer-B0 on ADE20K",
        "3.8 M",
        "15 MB",
        "NVIDIA, non-commercial",
    ),
    "video": PublicModel(
        "MCG-NJU/videomae-base-finetuned-kinetics", "VideoMAE on Kinetics-400", "87 M", "350 MB", "CC BY-NC 4.0"
    ),
    "speech_commands": PublicModel(
        "superb/wav2vec2-base-superb-ks", "wav2vec 2.0 on Speech Commands", "95 M", "380 MB", "Apache 2.0"
    ),
    "speech_recognition": PublicModel(
        "openai/whisper-tiny.en", "Whisper, the smallest", "38 M", "150 MB", "Apache 2.0"
    ),
    "speech_synthesis": PublicModel("facebook/mms-tts-eng", "VITS of MMS, English", "36 M", "145 MB", "CC BY-NC 4.0"),
}


def about(task: str) -> str:
    """Return a few lines on the public model for `task`: its name, where it comes from, its licence and its size."""
    one = _known(task)
    what = f"{one.title}, {one.parameters} parameters"
    return f"{what}\n  from     {one.home}\n  licence  {one.licence}\n  size     {one.size}"


def load(task: str, auto: str, folder: str | Path | None = None) -> Any:
    """Return the model for `task` in evaluation mode, read by the class `auto` of transformers ("AutoModel…").

    From `folder`, or if None from the hub or its copy on this machine. Raises `CheckpointError` if it cannot be read.
    """
    return part(task, auto, folder).eval()


def part(task: str, auto: str, folder: str | Path | None = None) -> Any:
    """Return what the class `auto` of transformers reads of the checkpoint for `task`: tokeniser, processor or model.

    From `folder`, or if None from the hub or its copy on this machine. Raises `CheckpointError` if it cannot be read.
    """
    import torch
    import transformers

    one = _known(task)
    if folder is not None and not Path(folder).expanduser().is_dir():
        hint = f"a folder with the files of {one.home}, or leave folder out to fetch them ({one.size})"
        raise CheckpointError(f"the files of {one.name} in a folder", got=f"no folder {str(folder)!r}", hint=hint)
    try:
        with quiet(), torch.random.fork_rng(devices=[]):  # some models draw weights before they read them
            return getattr(transformers, auto).from_pretrained(
                one.name if folder is None else str(Path(folder).expanduser())
            )
    except Exception as error:  # of whatever kind: network, mirror, a file cut short, a foreign file
        raise CheckpointError(
            f"{one.title}, for {auto}, from {one.name if folder is None else folder}",
            got=f"{type(error).__name__}: {str(error)[:300]}",
            hint=f"a network, or a mirror by HF_ENDPOINT, or the files of {one.home} in a folder by folder=... "
            f"({one.size}; licence: {one.licence}); or the course's own small model",
        ) from error


def _known(task: str) -> PublicModel:
    if task not in MODELS:
        raise InputError(f"a task among {', '.join(MODELS)}", got=repr(task))
    return MODELS[task]
