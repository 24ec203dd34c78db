"""Speech from text by a public model: VITS (Kim et al. 2021, arXiv 2106.06103), one network from letters to a wave."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from bigmodel_lab.errors import InputError
from bigmodel_lab.models import hub

__all__ = ["speak"]


@torch.no_grad()
def speak(texts: Sequence[str], *, folder: str | Path | None = None, seed: int = 0) -> list[tuple[Tensor, int]]:
    """Return for each text what it sounds like: samples (T,), about in [-1, 1], and their rate in hertz.

    `folder` holds a model of the kind and its tokeniser; None is the hub. VITS draws rhythm and melody at random, here
    from `seed`; the global random state is left as it was.
    """
    if isinstance(texts, str) or not texts or not all(text.strip() for text in texts):
        raise InputError("a list of texts, none of them empty", got=repr(texts)[:80], hint='speak(["four zero"])')
    tokenizer = hub.part("speech_synthesis", "AutoTokenizer", folder)
    model = hub.load("speech_synthesis", "AutoModelForTextToWaveform", folder)
    spoken = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for text in texts:  # one by one: padding would be spoken
            ids = tokenizer(text, return_tensors="pt")
            if not ids["input_ids"].shape[1]:
                raise InputError("letters that the model's tokeniser knows", got=repr(text))
            spoken.append((model(**ids).waveform[0], int(model.config.sampling_rate)))
    return spoken
