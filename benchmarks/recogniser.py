"""Train the recogniser of number words that the course ships, `bigmodel_lab/checkpoints/mini-asr`.

    python -m benchmarks.recogniser

A CTC model (`models.ctc`) with one symbol for each of 31 English words, from "zero" to "thousand". It hears the
training voices only: single words, joined strings of digits, joined numbers, and continuous phrases. Scored on the test
voices, on joined strings and on phrases, whose texts are in no training part; and on the narrator, one of the training
voices, in recordings not trained on, as they are and after a way through mel bands and Griffin-Lim. About six minutes
on one core; a run that was interrupted is resumed from `runs/`.
"""

import json
import platform
from datetime import date
from importlib import metadata
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from bigmodel_lab import runtime
from bigmodel_lab.data import speech
from bigmodel_lab.data.speech.features import FLOOR, warp
from bigmodel_lab.models.ctc import CTCConfig, Recogniser, ctc_loss, encode, save_recogniser, transcribe
from bigmodel_lab.train import Batches, fit, warmup_cosine

ROOT = Path(__file__).resolve().parents[1]
FOLDER, RUNS = ROOT / "bigmodel_lab" / "checkpoints" / "mini-asr", ROOT / "runs" / "mini-asr"
WORDS = speech.embedded.manifest()["commands"][:10] + speech.embedded.manifest()["numbers"]
SEED, EPOCHS, BATCH, RATE = 0, 14, 16, 2e-3
TESTS = 300  # joined recordings of each kind to test with
REPEATS = 3  # how often an epoch visits each continuous phrase, of which there are few
SIZES = {"width": 80, "strides": (4, 2), "dropout": 0.1}
AUGMENT = {"warp": 0.15, "gain": 1.0, "mask": {"frames": 8, "mels": 6}}


def features(sound: speech.AudioSet) -> Tensor:
    """Log-mel spectrograms (N, F, M), a tenth of a second of silence before each recording, half a second after it."""
    return speech.log_mel(F.pad(sound.waves, (speech.RATE // 10, speech.RATE // 2)), sound.rate)


def sets() -> tuple[dict[str, speech.AudioSet], dict[str, speech.AudioSet]]:
    """What is trained on, by part, and what is tested with the test voices."""
    single = speech.words()[0]
    digits, digits_test = speech.digit_strings(1500, TESTS, shortest=2, seed=SEED)
    numbers, numbers_test = speech.spoken_numbers(2500, TESTS, seed=SEED)
    noisy = speech.spoken_numbers(1500, 1, seed=SEED + 1, noise=0.02)[0]
    training = {
        "single words": single[[i for i, text in enumerate(single.texts) if text in WORDS]],
        "joined digits": digits,
        "joined numbers": numbers,
        "joined numbers, noisy": noisy[[i for i, text in enumerate(noisy.texts) if text not in numbers_test.texts]],
        "continuous digits": speech.phrases("digits")[0],
        "continuous numbers": speech.phrases("numbers")[0],
    }
    testing = {
        "joined digits, test voices": digits_test,
        "joined numbers, test voices": numbers_test,
        "continuous digits, test voices": speech.phrases("digits")[1],
        "continuous numbers, test voices": speech.phrases("numbers")[1],
    }
    said = {text for part in training.values() for text in part.texts if " " in text}  # every single word is trained on
    new = {name: [i for i, text in enumerate(part.texts) if text not in said] for name, part in testing.items()}
    return training, {name: part[new[name]] for name, part in testing.items()}


def augmented(bands: Tensor, generator: Generator) -> Tensor:
    """Other throats, other loudness, and holes."""
    bands = warp(bands, generator, most=AUGMENT["warp"])
    bands = bands + AUGMENT["gain"] * (2 * torch.rand(len(bands), 1, 1, generator=generator) - 1)
    return speech.mask(bands, generator, **AUGMENT["mask"])


def batches(parts: dict[str, speech.AudioSet]) -> Batches:
    spectrograms, texts = [], []
    for name, part in parts.items():
        times = REPEATS if name.startswith("continuous") else 1
        spectrograms += times * [features(part)]
        texts += times * list(part.texts)
    longest = max(one.shape[1] for one in spectrograms)
    silence = torch.tensor(FLOOR).log().item()
    x = torch.cat([F.pad(one, (0, 0, 0, longest - one.shape[1]), value=silence) for one in spectrograms])
    return Batches(x, encode(texts, WORDS), batch_size=BATCH, seed=SEED, augment=augmented)


def scores(model: Recogniser, sound: speech.AudioSet, bands: Tensor | None = None) -> dict[str, float]:
    """Word error rate and the share of recordings without any error."""
    import jiwer

    heard, said = transcribe(model, features(sound) if bands is None else bands), list(sound.texts)
    right = sum(a == b for a, b in zip(said, heard, strict=True)) / len(said)
    return {"wer": round(jiwer.wer(said, heard), 4), "exact": round(right, 4), "recordings": len(said)}


def resynthesised(sound: speech.AudioSet) -> Tensor:
    """Log-mel spectrograms of the recordings after mel bands and Griffin-Lim, as a synthesiser would give them."""
    bands = features(sound)
    waves = [speech.griffin_lim(speech.mel_to_magnitude(one, sound.rate), rounds=30) for one in bands.split(50)]
    return speech.log_mel(torch.cat(waves).clamp(-1, 1), sound.rate)


def held_out(model: Recogniser, testing: dict[str, speech.AudioSet]) -> dict[str, dict[str, float]]:
    told = speech.narrator()
    return {name: scores(model, sound) for name, sound in testing.items()} | {
        "narrator (a training voice)": scores(model, told),
        "narrator, from mel bands": scores(model, told, resynthesised(told)),
    }


CARD = """---
language: en
license: mit
pipeline_tag: automatic-speech-recognition
tags: [big-model-lab, ctc, speech]
---

# mini-asr

A recogniser of spoken numbers: a log-mel spectrogram in, English number words out. It is small on purpose: it comes
with the course's library, so that a lesson on speech has a trained recogniser without a download.

| | |
|---|---|
| parameters | {parameters:,} |
| architecture | {architecture} |
| vocabulary | {words} words, and the blank of CTC |
| sound | 8000 Hz, log-mel spectrogram of 40 bands, window 256 samples, hop 80 |
| trained on | {recordings:,} recordings of {voices} synthetic voices |
| passes | {epochs}, each with the continuous recordings {repeats} times |
| seed, date | {seed}, {date} |
| time | {minutes:.0f} minutes on one thread of a busy machine |
| versions | {versions} |

## How well it hears

| recordings | number | word error rate | all words right |
|---|---|---|---|
{scores}

## Use

```python
from bigmodel_lab.data import speech
from bigmodel_lab.models import ctc, pretrained

recogniser = ctc.load_recogniser(pretrained.folder("mini-asr"))
sound = speech.phrases("numbers")[1]
print(ctc.transcribe(recogniser, speech.log_mel(sound.waves, sound.rate)))
```

For teaching. It knows {words} words and hears one of them, or nothing, in whatever is said; it was never trained on a
human voice.

## Training data

The audio that the library ships, made by eSpeak NG (see `bigmodel_lab/audio/README.md`); training voices only.

| part | recordings |
|---|---|
{parts}

## Again

```
python -m benchmarks.recogniser
```

The record of the run, with its loss curve, is `training.json`.
"""


def card(record: dict) -> str:
    """Return the model card of a run, from its record alone."""
    rows = "\n".join(
        f"| {name} | {one['recordings']} | {one['wer']:.1%} | {one['exact']:.1%} |"
        for name, one in record["held_out"].items()
    )
    return CARD.format(
        **{key: record[key] for key in ("parameters", "architecture", "recordings", "voices", "seed", "date")},
        words=len(WORDS),
        epochs=record["recipe"]["epochs"],
        repeats=record["recipe"]["repeats"],
        minutes=record["seconds"] / 60,
        versions=", ".join(f"{name} {version}" for name, version in record["versions"].items()),
        scores=rows,
        parts="\n".join(f"| {name} | {count:,} |" for name, count in record["training_parts"].items()),
    )


def main() -> None:
    runtime.seed_everything(SEED)
    parts, testing = sets()
    model = Recogniser(CTCConfig(symbols=tuple(WORDS), **SIZES))
    data = batches(parts)
    print(data, runtime.describe(), flush=True)
    history = fit(
        model,
        data,
        epochs=EPOCHS,
        learning_rate=RATE,
        schedule=warmup_cosine(warmup=0.05, floor=0.02),
        loss=ctc_loss,
        clip_norm=1.0,
        checkpoint=RUNS,
    )
    save_recogniser(model, FOLDER)
    record = {
        "name": "mini-asr",
        "command": "python -m benchmarks.recogniser",
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, threads: {torch.get_num_threads()}",
        "seed": SEED,
        "audio": {name: about["samples_sha256"] for name, about in speech.embedded.manifest()["files"].items()},
        "training_parts": {name: len(part) for name, part in parts.items()},
        "recordings": sum(len(part) for part in parts.values()),
        "voices": len({voice for part in parts.values() for voice in part.voices}),
        "architecture": "2 convolutions (stride 4 and 2), GRU of width 80 in each direction, one linear layer",
        "versions": {"torch": metadata.version("torch")},
        "parameters": sum(p.numel() for p in model.parameters()),
        "recipe": {"epochs": EPOCHS, "batch": BATCH, "learning_rate": RATE, "repeats": REPEATS, **AUGMENT},
        "seconds": round(sum(history.column("seconds"))),
        "train_loss": [round(loss, 4) for loss in history.column("train_loss")],
        "held_out": held_out(model, testing),
    }
    (FOLDER / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (FOLDER / "README.md").write_text(card(record), encoding="utf-8")
    for name, one in record["held_out"].items():
        print(f"{name}: {one}")


if __name__ == "__main__":
    main()
