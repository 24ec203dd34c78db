"""Files of tensors: atomic, complete or refused, and never replaced by something worse."""

import os

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.train import Batches, Checkpoint, fit, load_model, save_model, warmup_cosine
from bigmodel_lab.train.fingerprint import describe


def build(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


def refused(words: str, call, *arguments) -> None:
    with pytest.raises(CheckpointError, match=words) as caught:
        call(*arguments)
    assert caught.value.expected
    assert caught.value.got
    assert caught.value.hint


@pytest.mark.parametrize("make", [build, Tied, lambda: build().to(torch.bfloat16)])
def test_a_model_comes_back_bit_by_bit(make, tmp_path):
    saved, loaded = make(), make()
    save_model(saved, tmp_path / "new" / "model.safetensors")
    assert not same(saved, loaded)
    assert load_model(loaded, str(tmp_path / "new" / "model.safetensors")) is loaded
    assert same(saved, loaded)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["model.safetensors"]


def test_tied_weights_are_written_once_and_stay_tied(tmp_path):
    save_model(Tied(), tmp_path / "tied")
    assert len(load_file(tmp_path / "tied")) == 1
    model = load_model(Tied(), tmp_path / "tied")
    assert model.head.weight is model.embedding.weight


def test_odd_layouts_and_views_are_saved_by_value(tmp_path):
    model = nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)
    model.register_buffer("part", torch.arange(10.0)[2:8:2])
    save_model(model, tmp_path / "m")
    other = nn.Conv2d(3, 4, 2)
    other.register_buffer("part", torch.zeros(3))
    assert same(model, load_model(other, tmp_path / "m"))


def test_what_does_not_fit_is_named_and_changes_nothing(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(build(), path)
    model = build(5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    refused(r"model.safetensors(.|\n)*0\.weight \(4, 3\) in the file, \(5, 3\) in the model", load_model, model, path)
    refused("missing in the file", load_model, nn.Sequential(*build(), nn.Linear(2, 2)), path)
    refused("not in the model", load_model, build()[:2], path)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_missing_truncated_and_foreign_files_are_named(tmp_path):
    path = tmp_path / "model.safetensors"
    refused("no such file", load_model, build(), path)
    save_model(build(), path)
    whole = path.read_bytes()
    for content in (whole[:-1], whole[: len(whole) // 2], whole[:9], b"", b"PK\x03\x04" + bytes(100), b"\xff" * 300):
        path.write_bytes(content)
        refused(r"model\.safetensors to be a complete", load_model, build(), path)
        assert path.read_bytes() == content


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failed_write_leaves_the_good_file(broken, tmp_path, monkeypatch):
    path, first, second = tmp_path / "m", build(), build()
    save_model(first, path)

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(CheckpointError, match="No space"):
        save_model(second, path)
    assert [file.name for file in tmp_path.iterdir()] == ["m"]
    monkeypatch.undo()
    assert same(load_model(build(), path), first)
    save_model(second, path)
    assert same(load_model(build(), path), second)


# --- runs ------------------------------------------------------------------------------------------------------------

X, Y = torch.randn(12, 3, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 2


def run(folder, *, model=None, epochs=2, batch_size=4, seed=0, x=X, **settings):
    torch.manual_seed(0)
    batches = Batches(x, Y, batch_size=batch_size, seed=seed)
    return fit(model or build(), batches, epochs=epochs, checkpoint=folder, progress=False, **settings)


def test_a_finished_run_is_not_repeated_and_a_longer_one_goes_on(tmp_path, capsys):
    model = build()
    start = {name: value.clone() for name, value in model.state_dict().items()}
    history = run(tmp_path, model=model)
    assert capsys.readouterr().out == ""
    again = build()
    assert run(tmp_path, model=again) == history
    assert same(model, again)
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "resumed from" in line
    assert str(tmp_path) in line
    longer, through = build(), build()
    through.load_state_dict(start)
    assert run(tmp_path, model=longer, epochs=4).step_losses == run(tmp_path / "b", model=through, epochs=4).step_losses
    assert same(longer, through)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"batch_size": 3}, "batch_size: 4 in the file, 3 now"),
        ({"seed": 1}, "seed: 0 in the file, 1 now"),
        ({"x": X + 1}, "inputs: "),
        ({"model": build(5)}, "model: Sequential, 34 parameters.* in the file, Sequential, 42 parameters"),
        ({"model": nn.Sequential(*build(), nn.Dropout(0.1))}, "model: "),
        ({"learning_rate": 0.1}, "optimizer: "),
        ({"accumulate": 2}, "accumulate: 1 in the file, 2 now"),
        ({"clip_norm": 1.0}, "clip_norm: None in the file, 1.0 now"),
        ({"schedule": warmup_cosine()}, "schedule: None in the file"),
        ({"epochs": 1}, "epochs: 2 done in the file, 1 asked for now"),
    ],
)
def test_another_run_is_refused_and_nothing_is_overwritten(change, word, tmp_path):
    run(tmp_path)
    file = Checkpoint(tmp_path).file
    content = file.read_bytes()
    with pytest.raises(CheckpointError, match=word) as caught:
        run(tmp_path, **change)
    assert str(file) in str(caught.value)
    assert "another folder" in caught.value.hint
    assert file.read_bytes() == content


def test_a_schedule_ties_the_run_to_its_length(tmp_path):
    run(tmp_path, schedule=warmup_cosine())
    run(tmp_path, schedule=warmup_cosine())
    with pytest.raises(CheckpointError, match="schedule: "):
        run(tmp_path, schedule=warmup_cosine(), epochs=3)
    with pytest.raises(CheckpointError, match="schedule: "):
        run(tmp_path, schedule=warmup_cosine(floor=0.1))


def test_truncated_and_foreign_checkpoints_are_named_and_kept(tmp_path):
    run(tmp_path)
    file = Checkpoint(tmp_path).file
    whole = file.read_bytes()
    for content in (whole[:-7], b"", b"anything"):
        file.write_bytes(content)
        refused(r"checkpoint\.safetensors to be a complete", run, tmp_path)
        assert file.read_bytes() == content
    save_model(build(), file)
    refused(r"to be a checkpoint of fit", run, tmp_path)
    save_file({"a": torch.zeros(1)}, file)
    refused(r"to be a checkpoint of fit", run, tmp_path)


def test_half_written_files_are_ignored_and_swept_away_later(tmp_path):
    file = Checkpoint(tmp_path).file
    old, young = (tmp_path / f"{file.name}.{number}.part" for number in (1, 2))  # the young one may be in use
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    run(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {file.name, young.name}


def test_checkpoint_settings_are_checked(tmp_path):
    (tmp_path / "file").write_text("")
    for arguments, words in (((tmp_path / "file",), "a folder"), ((tmp_path, 0), "every_steps")):
        with pytest.raises(InputError, match=words):
            Checkpoint(arguments[0], every_steps=arguments[1] if len(arguments) > 1 else None)


def test_other_frozen_parameters_are_another_run_and_nothing_is_changed(tmp_path):
    first, second = build(), build()
    first[0].requires_grad_(False)
    second[2].requires_grad_(False)
    run(tmp_path, model=first)
    before = {name: value.clone() for name, value in second.state_dict().items()}
    refused("trained: 4 tensors", lambda: run(tmp_path, model=second))
    assert all(torch.equal(value, before[name]) for name, value in second.state_dict().items())


class Shift:
    def __init__(self, by):
        self.by = by

    def __call__(self, inputs, generator):
        return inputs + self.by


@pytest.mark.parametrize(
    "make",
    [
        lambda i: nn.CrossEntropyLoss(label_smoothing=i / 10),
        lambda i: nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1.0 + i])),
        lambda i: nn.HuberLoss(delta=1.0 + i),
        Shift,
        lambda i: Shift(torch.full((2000,), float(i))),
    ],
)
def test_losses_and_augmentations_are_told_apart_by_their_settings(make):
    assert describe(make(1)) == describe(make(1))
    assert describe(make(1)) != describe(make(2))
