"""Train a small GPT on the text of Python's own manual: in one process, or in several, by the same file.

    python book/examples/train_gpt.py runs/gpt
    accelerate launch --multi_gpu --num_processes 2 book/examples/train_gpt.py runs/gpt
    accelerate launch --config_file book/examples/fsdp2.yaml book/examples/train_gpt.py runs/gpt

The losses are equal within rounding, and each goes on from what another saved: add `--epochs 4`, for example.
"""

import argparse
import json
import os
from pathlib import Path
from pydoc_data.topics import topics

import torch
from torch import Tensor

from bigmodel_lab import runtime
from bigmodel_lab.models.transformer import Decoder, TransformerConfig
from bigmodel_lab.train import Batches, Checkpoint, fit, save_model, token_loss

CONTEXT = 64  # tokens; a token is a byte
BATCH = 16  # texts per step, in all processes together


def texts(count: int) -> tuple[Tensor, Tensor]:
    """Return inputs and targets, (count, CONTEXT) each: the target of a byte is the byte after it."""
    text = "\n".join(topics[name] for name in sorted(topics)).encode()
    stream = torch.tensor(list(text[: count * CONTEXT + 1]))
    return stream[:-1].view(count, CONTEXT), stream[1:].view(count, CONTEXT)


def main() -> None:
    """Train, save the weights as `FOLDER/model.safetensors` and the losses as `FOLDER/history.json`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--texts", type=int, default=160)
    options = parser.parse_args()
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    first = os.environ.get("RANK", "0") == "0"

    runtime.seed_everything(0)  # the same weights in every process
    model = Decoder(TransformerConfig(vocabulary=256, context=CONTEXT, width=64, heads=4, depth=2))
    inputs, targets = texts(options.texts)
    held_out = options.texts // 8
    history = fit(
        model,
        Batches(inputs[held_out:], targets[held_out:], batch_size=BATCH // processes),
        epochs=options.epochs,
        loss=token_loss,
        learning_rate=3e-3,
        clip_norm=1.0,
        validation=Batches(inputs[:held_out], targets[:held_out], batch_size=BATCH // processes),
        checkpoint=Checkpoint(options.folder, every_steps=6),
        progress=False,
    )
    save_model(model, options.folder / "model.safetensors")
    if first:
        (options.folder / "history.json").write_text(json.dumps(history.to_dict()), encoding="utf-8")
        print(f"{processes} process{'es' * (processes > 1)}\n{history}")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
