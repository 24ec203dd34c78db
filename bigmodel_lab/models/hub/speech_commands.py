"""Spoken commands by the public model, wav2vec 2.0 fine-tuned on Speech Commands: waves in, probabilities out.

Sources: Baevski et al. (2020), wav2vec 2.0, NeurIPS, arXiv 2006.11477; Yang et al. (2021), SUPERB, arXiv 2105.01051.
Dimension letters: N waves, T samples, K classes.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models import hub

__all__ = ["classify"]

HEADS = ("ForSequenceClassification", "ForAudioClassification")
CHUNK = 16  # waves of one length that go through the model at once


@torch.no_grad()
def classify(
    waves: Tensor | Sequence[Tensor], rate: int, *, folder: str | Path | None = None
) -> tuple[Tensor, tuple[str, ...]]:
    """Return the probabilities (N, K) float32 of the classes for each wave, and the names of the classes.

    `waves` (N, T), or N waves (T,) of any lengths, are floats in [-1, 1] at the `rate` of the model, 16 000 Hz; none is
    padded, so waves do not change one another. Model and feature extractor are read from `folder`, or if None from
    the hub or its copy on this machine. Raises `InputError` for another rate, for waves that are too short, silent or
    not finite, and `CheckpointError` where the checkpoint cannot be read or is no classifier.
    """
    rows = _rows(waves)
    extractor = hub.part("speech_commands", "AutoFeatureExtractor", folder)
    model = hub.load("speech_commands", "AutoModelForAudioClassification", folder)
    if (wanted := extractor.sampling_rate) != rate:
        hint = f"speech.resample(waves, {rate}, {wanted}), of bigmodel_lab.data"
        raise InputError(f"waves at {wanted} Hz, as the model was trained", got=f"rate={rate}", hint=hint)
    names, kinds = model.config.id2label, model.config.architectures or ["no architecture"]
    if len(names) < 2 or not any(kind.endswith(HEADS) for kind in kinds):
        raise CheckpointError(
            "a trained classifier of sound with at least two classes",
            got=f"{', '.join(kinds)} with {len(names)} classes",
            hint="what is missing in a checkpoint, such as the head, is drawn by lot: save the fine-tuned model",
        )
    for at, row in enumerate(rows):
        if int(model._get_feat_extract_output_lengths(len(row))) < 1:
            raise InputError("waves that fill one window of the model", got=f"{len(row)} samples in wave {at}")
    found = []
    for _, same in groupby(rows, len):  # neighbours of one length
        same = list(same)
        for start in range(0, len(same), CHUNK):
            batch = [row.numpy() for row in same[start : start + CHUNK]]
            inputs = extractor(batch, sampling_rate=rate, return_tensors="pt")
            found.append(model(**inputs).logits.float().softmax(-1))
    return torch.cat(found), tuple(names[k] for k in sorted(names))


def _rows(waves: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """Return each wave (T,) as float32 on the CPU; refuse what is none."""
    single = isinstance(waves, Tensor) and waves.ndim != 2
    if single or not len(waves) or not all(isinstance(wave, Tensor) and wave.ndim == 1 for wave in waves):
        got = f"a tensor of shape {tuple(waves.shape)}" if isinstance(waves, Tensor) else f"{len(waves)} parts"
        raise InputError("waves (N, T), or at least one wave (T,)", got=got, hint="wave[None] for a single one")
    for at, wave in enumerate(waves):
        if not wave.is_floating_point() or not bool(wave.isfinite().all()) or not bool(wave.any()):
            kind = f"{wave.dtype}, " + ("silent" if not bool(wave.any()) else "or not finite")
            hint = "16-bit samples / 32768; leave silent recordings out"
            raise InputError("finite floats with sound in them", got=f"wave {at}: {kind}", hint=hint)
    return [wave.detach().cpu().float() for wave in waves]
