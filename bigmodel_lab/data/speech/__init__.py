"""Speech: shipped synthetic voices, tasks made of them, features, augmentation, sound files, and public sets."""

from bigmodel_lab.data.speech.augment import add_noise, low_pass, mask, resample, shift, to_float, to_mono
from bigmodel_lab.data.speech.embedded import narrator, phrases, words
from bigmodel_lab.data.speech.features import (
    griffin_lim,
    log_mel,
    mel_filters,
    mel_to_magnitude,
    mfcc,
    spectrogram,
)
from bigmodel_lab.data.speech.phones import fold
from bigmodel_lab.data.speech.public import background_noise, librispeech, lj_speech, speech_commands, timit
from bigmodel_lab.data.speech.reading import read_audio
from bigmodel_lab.data.speech.sets import RATE, AudioSet
from bigmodel_lab.data.speech.tasks import commands, digit_strings, spoken_numbers

__all__ = [
    "RATE",
    "AudioSet",
    "add_noise",
    "background_noise",
    "commands",
    "digit_strings",
    "fold",
    "griffin_lim",
    "librispeech",
    "lj_speech",
    "log_mel",
    "low_pass",
    "mask",
    "mel_filters",
    "mel_to_magnitude",
    "mfcc",
    "narrator",
    "phrases",
    "read_audio",
    "resample",
    "shift",
    "spectrogram",
    "speech_commands",
    "spoken_numbers",
    "timit",
    "to_float",
    "to_mono",
    "words",
]
