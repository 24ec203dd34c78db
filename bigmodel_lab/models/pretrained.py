"""The checkpoints that the course trained itself: weights, config, model card and the record of the run, in a folder.

`mini-bert` (masked tokens) and `mini-gpt` (the next token) were trained on the training part of the docstring corpus by
`benchmarks/pretrain.py`. They have a tokeniser too, and `transformers` reads them like any other:
`AutoModelForCausalLM.from_pretrained(folder("mini-gpt"))`. `mini-asr` hears number words; it was trained by
`benchmarks/recogniser.py` on the course's own voices, and `models.ctc.load_recogniser` reads it.
"""

import json
from pathlib import Path
from typing import Any

from bigmodel_lab.errors import InputError

__all__ = ["NAMES", "folder", "record"]

NAMES = ("mini-asr", "mini-bert", "mini-gpt")
FOLDER = Path(__file__).resolve().parents[1] / "checkpoints"


def folder(name: str) -> Path:
    """Return the folder of checkpoint `name`, one of `NAMES`."""
    if name not in NAMES:
        raise InputError(f"a checkpoint among {', '.join(NAMES)}", got=repr(name), hint='folder("mini-bert")')
    return FOLDER / name


def record(name: str) -> dict[str, Any]:
    """Return the record of the run that made checkpoint `name`: data and its hash, recipe, versions, loss curve."""
    return json.loads((folder(name) / "training.json").read_text(encoding="utf-8"))
