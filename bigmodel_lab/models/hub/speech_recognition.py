"""Speech to text by the public model: Whisper, which writes token after token, or wav2vec 2.0 with CTC.

Sources: Radford et al. (2023), Whisper, ICML, arXiv 2212.04356; Baevski et al. (2020), wav2vec 2.0, NeurIPS,
arXiv 2006.11477. Dimension letters: N waves, T samples.
"""

from collections.abc import Sequence
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models import hub
from bigmodel_lab.models.hub.speech_commands import _rows
from bigmodel_lab.models.hugging_face import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["transcribe"]

TASK = "speech_recognition"
CHUNK = 8  # waves that go through Whisper at once


@torch.no_grad()
def transcribe(waves: Tensor | Sequence[Tensor], rate: int, *, folder: str | Path | None = None) -> list[str]:
    """Return what is said in each wave, as the model writes it, without white space around it.

    `waves` (N, T), or N waves (T,) of any lengths, are floats in [-1, 1] at `rate` Hz; another rate than the model's
    is resampled. Whisper takes the likeliest token each time and hears at most 30 seconds; a CTC model takes the
    likeliest symbol of each frame, and no padding goes through it. Model and processor are read from `folder`, or if
    None from the hub or its copy on this machine. Raises `InputError` for waves that are too long, too short, silent
    or not finite, and `CheckpointError` where the checkpoint cannot be read or writes no text.
    """
    rows = _rows(waves)
    if isinstance(rate, bool) or not isinstance(rate, int) or rate < 1:
        raise InputError("a rate in Hz, an integer of at least 1", got=repr(rate))
    kinds = hub.part(TASK, "AutoConfig", folder).architectures or ["no architecture"]
    writes, spells = (any(kind.endswith(end) for kind in kinds) for end in ("ForConditionalGeneration", "ForCTC"))
    if not writes and not spells:
        hint = "WhisperForConditionalGeneration or Wav2Vec2ForCTC"
        raise CheckpointError("a trained model that writes what it hears", got=", ".join(kinds), hint=hint)
    model = hub.load(TASK, "AutoModelForSpeechSeq2Seq" if writes else "AutoModelForCTC", folder)
    processor = hub.part(TASK, "AutoProcessor", folder)
    wanted = processor.feature_extractor.sampling_rate
    return (_written if writes else _spelled)(model, processor, [_resampled(row, rate, wanted) for row in rows])


def _written(model: "PreTrainedModel", processor: Any, rows: list[Tensor]) -> list[str]:
    """Return what a Whisper writes."""
    extractor, texts = processor.feature_extractor, []
    longest = max(map(len, rows))
    if longest > extractor.n_samples:
        limit = extractor.n_samples / extractor.sampling_rate
        got = f"{longest / extractor.sampling_rate:.1f} s"
        raise InputError(f"waves of at most {limit:g} s", got=got, hint="cut the recording at a pause")
    for start in range(0, len(rows), CHUNK):
        batch = [row.numpy() for row in rows[start : start + CHUNK]]
        inputs = extractor(
            batch, sampling_rate=extractor.sampling_rate, return_tensors="pt", return_attention_mask=True
        )
        with quiet():
            ids = model.generate(inputs.input_features, attention_mask=inputs.attention_mask, num_beams=1)
        texts += processor.batch_decode(ids, skip_special_tokens=True)
    return [text.strip() for text in texts]


def _spelled(model: "PreTrainedModel", processor: Any, rows: list[Tensor]) -> list[str]:
    """Return what a CTC model writes, each wave alone."""
    extractor, texts = processor.feature_extractor, []
    for at, row in enumerate(rows):
        if int(model._get_feat_extract_output_lengths(len(row))) < 1:
            raise InputError("waves that fill one window of the model", got=f"{len(row)} samples in wave {at}")
        inputs = extractor(row.numpy(), sampling_rate=extractor.sampling_rate, return_tensors="pt")
        texts += processor.batch_decode(model(inputs.input_values).logits.argmax(-1))
    return [text.strip() for text in texts]


def _resampled(wave: Tensor, rate: int, to: int) -> Tensor:
    """Return a wave (T,) of `rate` Hz at `to` Hz, by SciPy's polyphase filter."""
    if rate == to:
        return wave
    from scipy.signal import resample_poly

    common = gcd(rate, to)
    return torch.from_numpy(resample_poly(wave.numpy(), to // common, rate // common)).float()
