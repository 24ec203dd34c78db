"""Spoken English numbers to Chinese numerals: a recogniser and a rule, or one network, against training recordings.

Three systems are trained on N recordings of the training voices, joined from single words, and the 120 continuous
phrases, which count twice: *cascade*, a CTC recogniser and the rule from English words to Chinese numerals; *end to
end*, one network from sound to numerals; *end to end, pre-trained*, the same with the listener of mini-asr to begin
with. A fourth is trained on nothing more: *mini-asr and the rule*. Kept are, for each seed, the share of recordings
whose numeral is right, the character error rate, the share of recordings for which the rule found no number, and
CPU-seconds. Test voices and test numbers are in no training part, mini-asr's included.

    python -m benchmarks.spoken_numbers [--seeds 2]
"""

import argparse
import time
from functools import partial

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from benchmarks.saved import save
from bigmodel_lab import train
from bigmodel_lab.data import speech
from bigmodel_lab.data.numerals import chinese_numeral, number_words
from bigmodel_lab.data.speech.features import warp
from bigmodel_lab.models import pretrained
from bigmodel_lab.models.ctc import CTCConfig, Recogniser, ctc_loss, encode, load_recogniser, transcribe
from bigmodel_lab.models.speech_translation import SpeechTranslator, SpeechTranslatorConfig, speech_forcing, write

RECORDINGS, TESTS, DATA_SEED = (250, 1000, 4000), 300, 0
VISITS = {"cascade": 20_000, "end to end": 20_000, "end to end, pre-trained": 5_000}  # recordings seen in training
BATCH, RATE, WARP = 16, 3e-3, 0.15
SIZES = {"width": 80, "strides": (4, 2), "dropout": 0.1}
SYMBOLS, START, STOP, LENGTH = "零一二三四五六七八九十百千两", 1, 2, 8
RULE = {number_words(n).replace("-", " "): chinese_numeral(n) for n in range(10_000)}


def features(sound: speech.AudioSet, samples: int) -> Tensor:
    """Log-mel spectrograms (N, F, M) of recordings filled up to `samples`, and half a second of silence around."""
    waves = F.pad(sound.waves, (speech.RATE // 10, samples - sound.waves.shape[1] + speech.RATE // 2))
    return speech.log_mel(waves, sound.rate)


def to_ids(texts: tuple[str, ...]) -> Tensor:
    rows = [[START, *(SYMBOLS.index(c) + 3 for c in text), STOP] for text in texts]
    return torch.tensor([row + [0] * (LENGTH + 1 - len(row)) for row in rows])


def to_texts(ids: Tensor) -> list[str]:
    return ["".join(SYMBOLS[i - 3] for i in row if i >= 3) for row in ids.tolist()]


def other_throats(x: Tensor, generator: Generator, *, frames: int) -> Tensor:
    """Warp the first `frames` rows of x (B, F + T, M); the others are target ids."""
    return torch.cat([warp(x[:, :frames], generator, most=WARP), x[:, frames:]], 1)


def fitted(model: torch.nn.Module, x: Tensor, y: Tensor, *, visits: int, frames: int, seed: int, loss) -> None:
    batches = train.Batches(x, y, batch_size=BATCH, seed=seed, augment=partial(other_throats, frames=frames))
    recipe = {"learning_rate": RATE, "schedule": train.warmup_cosine(warmup=0.1), "clip_norm": 1.0}
    train.fit(model, batches, epochs=max(1, round(visits / len(x))), loss=loss, progress=False, **recipe)


def trained(system: str, x: Tensor, texts: tuple[str, ...], translations: tuple[str, ...], seed: int):
    """Train `system` on features and what is said in them; return a function from features to numerals."""
    torch.manual_seed(seed)
    recipe = {"visits": VISITS[system], "frames": x.shape[1], "seed": seed}
    if system == "cascade":
        recogniser = Recogniser(CTCConfig(symbols=sorted({w for text in texts for w in text.split()}), **SIZES))
        fitted(recogniser, x, encode(texts, recogniser.config.symbols), loss=ctc_loss, **recipe)
        return cascade(recogniser)
    sizes = SpeechTranslatorConfig(vocabulary=len(SYMBOLS) + 3, context=LENGTH, **SIZES)
    translator = SpeechTranslator(sizes)
    if "pre-trained" in system:
        listener = load_recogniser(pretrained.folder("mini-asr")).listener
        translator.listener.load_state_dict(listener.state_dict())
    fitted(translator, *speech_forcing(x, to_ids(translations)), loss=train.token_loss, **recipe)
    return lambda bands: to_texts(write(translator, bands, start=START, stop=STOP))


def cascade(recogniser: Recogniser):
    """A recogniser and the rule: "" where the words are no number."""
    return lambda bands: [RULE.get(text, "") for text in transcribe(recogniser, bands)]


def scores(translate, x: Tensor, truth: tuple[str, ...]) -> dict[str, float]:
    import jiwer

    made = translate(x)
    return {
        "exact": round(sum(a == b for a, b in zip(made, truth, strict=True)) / len(truth), 4),
        "cer": round(jiwer.cer(list(truth), made), 4),
        "nothing": round(made.count("") / len(made), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=2)
    seeds = list(range(parser.parse_args().seeds))
    joined, tested = speech.spoken_numbers(max(RECORDINGS), TESTS, seed=DATA_SEED)
    whole, whole_tested = speech.phrases("numbers")
    longest = max(part.waves.shape[1] for part in (joined, tested, whole, whole_tested))
    tests = {"joined": tested, "continuous": whole_tested}
    heard = {name: (features(part, longest), part.translations) for name, part in tests.items()}
    x, x_whole = features(joined, longest), features(whole, longest)
    given = cascade(load_recogniser(pretrained.folder("mini-asr")))
    result: dict[str, dict] = {system: {} for system in VISITS}
    for n in RECORDINGS:
        both = torch.cat([x[:n], x_whole, x_whole])
        texts, translations = (
            getattr(joined, part)[:n] + 2 * getattr(whole, part) for part in ("texts", "translations")
        )
        for system in VISITS:
            runs = []
            for seed in seeds:
                begun = time.process_time()
                translate = trained(system, both, texts, translations, seed)
                seconds = round(time.process_time() - begun, 1)
                runs.append({name: scores(translate, *one) for name, one in heard.items()} | {"cpu_seconds": seconds})
                print(n, system, runs[-1], flush=True)
            result[system][str(n)] = runs
    about = {
        "question": "spoken English numbers to Chinese numerals: recogniser and rule, or one network?",
        "seeds": seeds,
        "recordings": list(RECORDINGS),
        "recipe": {"visits": VISITS, "batch": BATCH, "learning_rate": RATE, "warp": WARP, **SIZES},
        "tests": {name: len(part) for name, part in tests.items()},
        "mini-asr and the rule": {name: scores(given, *one) for name, one in heard.items()},
        "systems": result,
    }
    save("spoken_numbers", about, machine="2 CPU cores, one thread", packages=("torch", "jiwer"))


if __name__ == "__main__":
    main()
