"""`fit` learns, agrees with closed forms and with a loop written out, and refuses what cannot be right."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from bigmodel_lab import runtime
from bigmodel_lab.errors import InputError, TrainingError
from bigmodel_lab.train import (
    Batches,
    Checkpoint,
    accuracy,
    evaluate,
    fit,
    linear_decay,
    predict,
    squared_error,
    warmup_cosine,
)
from bigmodel_lab.train.checkpoint import read
from bigmodel_lab.train.layout import likes_channels_last

SGD = partial(torch.optim.SGD, lr=0.1)
quiet = partial(fit, progress=False)


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return torch.tensor(data.data / 16, dtype=torch.float32), torch.tensor(data.target)


def mlp(*sizes: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def random_classes(count: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 6, generator=generator), torch.randint(0, 3, (count,), generator=generator)


# --- it learns -------------------------------------------------------------------------------------------------------


def test_digits_are_learned(digits):
    x, y = digits
    model = mlp(64, 64, 10)
    held_out = Batches(x[::5], y[::5], batch_size=128)
    rest = torch.arange(len(x)) % 5 != 0
    history = fit(model, Batches(x[rest], y[rest], batch_size=32), epochs=8, learning_rate=3e-3, validation=held_out)
    assert history.last("validation_accuracy") > 0.95
    assert evaluate(model, held_out)["accuracy"] == history.last("validation_accuracy")
    assert history.column("epoch") == list(range(1, 9))
    assert len(history.step_losses) == 8 * math.ceil(rest.sum() / 32)
    assert history.column("train_loss")[0] > 3 * history.last("train_loss")


def test_parity_of_four_bits_is_learned():
    bits = torch.tensor([[(n >> k) & 1 for k in range(4)] for n in range(16)]).float()
    parity = bits.sum(1).long() % 2
    model = mlp(4, 32, 2)
    history = quiet(model, Batches(bits, parity, batch_size=16), epochs=300, learning_rate=0.02)
    assert evaluate(model, [(bits, parity)])["accuracy"] == 1
    assert history.last("train_loss") < 0.01


def test_linear_regression_finds_the_closed_form():
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(200, 3, generator=generator), torch.randn(200, 1, generator=generator)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 3 + 0.1 * noise
    solution = torch.linalg.lstsq(torch.cat([x, torch.ones(200, 1)], 1), y).solution.flatten()
    model = nn.Linear(3, 1)
    history = quiet(
        model,
        Batches(x, y, batch_size=200),
        epochs=100,
        loss=F.mse_loss,
        optimizer=partial(torch.optim.SGD, lr=0.3),
        validation=[(x, y)],
        metrics={"error": squared_error},
    )
    found = torch.cat([model.weight.flatten(), model.bias]).detach()
    torch.testing.assert_close(found, solution, atol=1e-4, rtol=0)
    assert history.last("validation_loss") == pytest.approx(history.last("validation_error"))


def test_convolutions_give_the_same_result_as_a_plain_loop(digits):
    x, y = digits[0][:96].view(-1, 1, 8, 8), digits[1][:96]

    def build():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 10)
        )

    ours, plain, batches = build(), build(), Batches(x, y, batch_size=16)
    quiet(ours, batches, epochs=2, optimizer=SGD)
    optimizer = SGD(plain.parameters())
    for epoch in range(2):
        for inputs, targets in batches.epoch(epoch):
            optimizer.zero_grad()
            F.cross_entropy(plain(inputs), targets).backward()
            optimizer.step()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], atol=1e-4, rtol=1e-3)
    ours[0].weight.view(4, -1)  # usual layout: usable by the caller


class Viewing(nn.Module):
    """Calls `.view` on activations, which only works in the usual layout."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 3, 3), nn.Linear(3 * 36, 10)
        self.layouts = []

    def forward(self, x):
        self.layouts.append(x.is_contiguous(memory_format=torch.channels_last))
        activations = self.conv(x)
        return self.head(activations.view(len(x), -1) if "view" in self.__dict__ else activations.flatten(1))


def test_layout_is_changed_only_where_the_model_bears_it():
    batches = Batches(torch.randn(20, 2, 8, 8), torch.randint(0, 10, (20,)), batch_size=10)
    model = Viewing()
    quiet(model, batches, epochs=1)
    assert all(model.layouts[2:])
    model = Viewing()
    model.view = True
    quiet(model, batches, epochs=1)
    assert not any(model.layouts[2:])


class Peculiar(nn.Module):
    """Draws at random, counts its calls in a buffer, and can depend on the order of numbers in memory."""

    def __init__(self, by_memory: bool):
        super().__init__()
        self.conv, self.by_memory = nn.Conv2d(2, 2, 3), by_memory
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        torch.rand(1)
        self.calls += 1
        return self.conv(x) * (torch.as_strided(x, (len(x), 1, 6, 6), (128, 36, 6, 1)) if self.by_memory else 1)


@pytest.mark.parametrize("by_memory", [True, False])
def test_trying_the_layout_changes_nothing_and_results_decide(by_memory):
    model, images = Peculiar(by_memory), torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    state = torch.get_rng_state()
    assert likes_channels_last(model, images) is not by_memory
    assert torch.equal(torch.get_rng_state(), state)
    assert model.calls == 0
    assert model.training


# --- steps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [40, 38])  # 10 batches of 4; the last of 2
def test_accumulated_batches_count_as_one(count):
    x, y = random_classes(count)
    small, big = mlp(6, 8, 3), mlp(6, 8, 3)
    accumulated = quiet(small, Batches(x, y, batch_size=4, shuffle=False), epochs=2, accumulate=4, optimizer=SGD)
    whole = quiet(big, Batches(x, y, batch_size=16, shuffle=False), epochs=2, optimizer=SGD)
    for a, b in zip(weights(small), weights(big), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
    assert accumulated.step_losses == pytest.approx(whole.step_losses, abs=1e-6)
    assert len(whole.step_losses) == 2 * 3
    from_a_list = mlp(6, 8, 3)
    pairs = list(zip(x.split(4), y.split(4), strict=True))
    quiet(from_a_list, pairs, epochs=2, accumulate=4, optimizer=SGD)
    for a, b in zip(weights(small), weights(from_a_list), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_train_loss_is_the_mean_over_examples():
    x, y = random_classes(10)
    model = mlp(6, 3)
    history = quiet(model, Batches(x, y, batch_size=8), epochs=1, optimizer=partial(torch.optim.SGD, lr=0.0))
    assert history.last("train_loss") == pytest.approx(F.cross_entropy(model(x), y).item(), abs=1e-6)


def test_clipping_bounds_the_step():
    x, y = random_classes()
    for clip, expected in ((1e-3, 1e-4), (1e6, None)):
        model = mlp(6, 8, 3)
        before = weights(model)
        quiet(model, Batches(x, y, batch_size=40), epochs=1, clip_norm=clip, optimizer=SGD)
        moved = torch.cat([(a - b).flatten() for a, b in zip(weights(model), before, strict=True)]).norm().item()
        assert moved == pytest.approx(expected, rel=1e-3) if expected else moved > 1e-2


@pytest.mark.parametrize("schedule", [linear_decay, warmup_cosine(warmup=2)])
def test_schedule_multiplies_the_learning_rate_at_each_step(schedule):
    x, y = random_classes()
    model, by_hand = mlp(6, 3), mlp(6, 3)
    batches = Batches(x, y, batch_size=10)
    history = quiet(model, batches, epochs=2, schedule=schedule, optimizer=SGD)
    for step in range(8):
        inputs, targets = list(batches.epoch(step // 4))[step % 4]
        gradients = torch.autograd.grad(F.cross_entropy(by_hand(inputs), targets), list(by_hand.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(by_hand.parameters(), gradients, strict=True):
                parameter -= 0.1 * schedule(step, 8) * gradient
    for a, b in zip(weights(model), weights(by_hand), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
    assert history.column("learning_rate") == pytest.approx([0.1 * schedule(3, 8), 0.1 * schedule(7, 8)])


def test_what_the_caller_left_and_gets_back():
    x, y = random_classes()
    model, fresh = mlp(6, 8, 3), mlp(6, 8, 3)
    model[1].eval()
    model.double().float()
    F.cross_entropy(model(x), y).backward()  # stale gradients, which must not count
    model[0].bias.requires_grad_(False)
    fresh[0].bias.requires_grad_(False)
    frozen = model[0].bias.clone()
    names = set(vars(model))
    quiet(model, Batches(x, y, batch_size=8), epochs=1)
    quiet(fresh, Batches(x, y, batch_size=8), epochs=1)
    assert [module.training for module in model] == [True, False, True]
    assert torch.equal(model[0].bias, frozen)
    assert all(p.grad is None for p in model.parameters())
    assert set(vars(model)) == names
    for a, b in zip(weights(model), weights(fresh), strict=True):
        assert torch.equal(a, b)


def test_any_batches_that_can_be_iterated_again_will_do():
    x, y = random_classes()
    loader = DataLoader(TensorDataset(x, y), batch_size=8)
    for batches in (loader, list(loader), Batches(x, y, batch_size=8, shuffle=False)):
        model = mlp(6, 3)
        history = quiet(model, batches, epochs=2, validation=loader)
        assert len(history.step_losses) == 10
        if batches is loader:
            expected = weights(model)
        assert all(torch.equal(a, b) for a, b in zip(weights(model), expected, strict=True))


def test_mixed_precision_holds_in_a_second_call_too(monkeypatch):
    monkeypatch.setattr(runtime, "precision", lambda on: "bf16")
    seen = []

    class Peek(nn.Linear):
        def forward(self, x):
            outputs = super().forward(x)
            seen.append(outputs.dtype)
            return outputs

    model = nn.Sequential(Peek(6, 3))
    for _ in range(2):
        quiet(model, Batches(*random_classes(), batch_size=40), epochs=1)
    assert seen == [torch.bfloat16] * 2
    assert model(torch.zeros(1, 6)).dtype == torch.float32
    monkeypatch.setattr(runtime, "precision", lambda on: "no")
    quiet(model, Batches(*random_classes(), batch_size=40), epochs=1)
    assert seen[-1] == torch.float32


def test_inside_no_grad_it_still_trains():
    with torch.no_grad():
        history = quiet(mlp(6, 3), Batches(*random_classes(), batch_size=8), epochs=5)
    assert history.last("train_loss") < history.column("train_loss")[0]


def test_the_bar_is_quiet_in_short_runs(capsys):
    fit(mlp(6, 3), Batches(*random_classes(), batch_size=8), epochs=1)
    assert capsys.readouterr() == ("", "")


# --- what is refused -------------------------------------------------------------------------------------------------


def assert_refused(error: type, words: str, *arguments, **settings) -> str:
    with pytest.raises(error, match=words) as caught:
        quiet(*arguments, **{"epochs": 1, **settings})
    assert caught.value.expected
    assert caught.value.got
    assert caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("step", [1, 7, 70])
def test_loss_that_is_not_finite_stops_at_a_named_step(bad, step):
    x, y = torch.ones(5, 1), torch.ones(5, 1)
    calls = []

    def loss(outputs, targets):
        calls.append(0)
        return F.mse_loss(outputs, targets) * (bad if len(calls) == step else 1)

    words = rf"in epoch {(step - 1) // 5 + 1} of 20, at step {step} of 100 \(from 1\)"
    message = assert_refused(
        TrainingError, words, nn.Linear(1, 1), Batches(x, y, batch_size=1), epochs=20, loss=loss, learning_rate=0.25
    )
    assert "learning rate below 0.25" in message
    assert len(calls) < step + 70


def test_not_finite_loss_is_never_saved(tmp_path):
    x, y = torch.ones(5, 1), torch.ones(5, 1)
    calls = []

    def loss(outputs, targets):
        calls.append(0)
        return F.mse_loss(outputs, targets) * (math.nan if len(calls) == 8 else 1)

    save = Checkpoint(tmp_path, every_steps=1)
    assert_refused(
        TrainingError, "step 8 of", nn.Linear(1, 1), Batches(x, y, batch_size=1), epochs=3, loss=loss, checkpoint=save
    )
    assert len(read(save.file)[0]["step_losses"]) == 7


@pytest.mark.parametrize(
    ("outputs", "targets", "loss", "words"),
    [
        (1, torch.zeros(4), F.mse_loss, "same shape for mse_loss"),
        (1, torch.zeros(4), nn.MSELoss(), "same shape for MSELoss"),
        (1, torch.zeros(4), partial(F.huber_loss, delta=2.0), "same shape"),
        (1, torch.zeros(4, 1).long(), F.mse_loss, "floating-point"),
        (3, torch.tensor([0, 1, 2, 3]), F.cross_entropy, "targets from 0 to 2"),
        (3, torch.tensor([0, 1, 2, -1]), F.cross_entropy, "targets from 0 to 2"),
        (3, torch.tensor([0, 1, 2, 9]), partial(F.cross_entropy, ignore_index=8), "targets from 0 to 2"),
        (3, torch.zeros(4, 1).long(), F.cross_entropy, "integer targets"),
        (3, torch.zeros(4), F.cross_entropy, "integer targets"),
        (3, torch.zeros(4).int(), F.cross_entropy, "int64"),
        (3, torch.zeros(4, 3), lambda o, t: (o - t) ** 2, "one number"),
        (3, torch.zeros(4, 3), lambda o, t: 1.0, "one number"),
        (3, torch.zeros(4, 3), lambda o, t: (o.detach() - t).mean(), "trainable parameters"),
    ],
)
@pytest.mark.parametrize("kind", ["Batches", "list"])
def test_outputs_targets_and_loss_that_do_not_fit(outputs, targets, loss, words, kind):
    x = torch.zeros(4, 2)
    batches = Batches(x, targets, batch_size=4) if kind == "Batches" else [(x, targets)]
    assert_refused(TrainingError, words, nn.Linear(2, outputs), batches, loss=loss)


@pytest.mark.parametrize(
    ("targets", "loss"),
    [
        (torch.tensor([0, 1, 2, -100]), F.cross_entropy),
        (torch.tensor([0, 1, 2, 9]), partial(F.cross_entropy, ignore_index=9)),
        (torch.tensor([0, 1, 2, 9]), nn.CrossEntropyLoss(ignore_index=9)),
        (torch.full((4, 3), 1 / 3), F.cross_entropy),
        (torch.zeros(4, 3), F.binary_cross_entropy_with_logits),
    ],
)
def test_targets_that_look_odd_but_are_right(targets, loss):
    quiet(nn.Linear(2, 3), Batches(torch.zeros(4, 2), targets, batch_size=2), epochs=1, loss=loss)


class Tupled(nn.Linear):
    def forward(self, x):
        return (super().forward(x),)


def test_models_that_cannot_be_trained():
    batches = Batches(*random_classes(), batch_size=8)
    assert_refused(TrainingError, "returns a tensor", Tupled(6, 3), batches)
    assert_refused(TrainingError, "trainable parameters", nn.Linear(6, 3).requires_grad_(False), batches)
    doubled = Batches(batches.inputs.double(), batches.targets, batch_size=8)
    assert_refused(TrainingError, "float64", nn.Linear(6, 3), doubled)
    assert_refused(TrainingError, "float64", nn.Linear(6, 3), [(doubled.inputs, doubled.targets)])


def test_batches_that_cannot_be_iterated_or_are_empty():
    model, pair = nn.Linear(6, 3), random_classes()
    assert_refused(InputError, "once per epoch", model, iter([pair]))
    assert_refused(InputError, "once per epoch", model, pair[0])
    assert_refused(InputError, "once per epoch", model, None)
    assert_refused(TrainingError, "at least one batch", model, [])
    assert_refused(TrainingError, "pairs of tensors", model, [(pair[0], pair[1][:3])])
    assert_refused(TrainingError, "pairs of tensors", model, [pair[0]])


class Unsized:
    def __iter__(self):
        yield random_classes()


def test_settings_that_contradict(tmp_path):
    model, batches = nn.Linear(6, 3), Batches(*random_classes(), batch_size=8)
    for name in ("epochs", "accumulate"):
        for value in (0, 1.5):
            assert_refused(InputError, name, model, batches, **{name: value})
    assert_refused(InputError, "clip_norm", model, batches, clip_norm=0)
    assert_refused(InputError, "either learning_rate", model, batches, learning_rate=0.1, optimizer=SGD)
    assert_refused(InputError, "known number", model, Unsized(), schedule=linear_decay)
    assert len(quiet(model, Unsized(), epochs=2).step_losses) == 2
    every = Checkpoint(tmp_path, every_steps=2)
    assert_refused(InputError, "middle of an epoch", model, list(batches), checkpoint=every)


def test_after_a_refusal_the_model_is_as_it_was():
    model = mlp(6, 8, 3)
    model[1].eval()
    names, before = set(vars(model)), [module.training for module in model.modules()]
    assert_refused(
        TrainingError, "targets from 0", model, Batches(torch.zeros(2, 6), torch.tensor([0, 7]), batch_size=2)
    )
    assert [module.training for module in model.modules()] == before
    assert set(vars(model)) == names
    assert all(p.grad is None for p in model.parameters())


def test_metrics_are_those_asked_for():
    x, y = random_classes()
    history = quiet(mlp(6, 3), Batches(x, y, batch_size=8), epochs=1, validation=[(x, y)], metrics={"right": accuracy})
    assert list(history.rows[0]) == [
        "epoch",
        "train_loss",
        "learning_rate",
        "validation_loss",
        "validation_right",
        "seconds",
    ]
    assert "validation_loss" not in quiet(mlp(6, 3), Batches(x, y, batch_size=8), epochs=1).rows[0]
    assert_refused(TrainingError, "at least one batch", mlp(6, 3), Batches(x, y, batch_size=8), validation=[])


def test_a_model_that_changes_its_inputs_leaves_the_data_alone():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 4, 2), nn.Flatten(), nn.Linear(16, 2))
    x, y = torch.randn(8, 3, 3, 3), torch.arange(8) % 2
    before = x.clone()
    quiet(model, Batches(x, y, batch_size=4), epochs=1)
    quiet(model, [(x, y)], epochs=1, validation=[(x, y)])
    predict(model, x)
    likes_channels_last(model, x)
    assert torch.equal(x, before)


def test_data_gets_no_gradient():
    x, y = torch.randn(8, 6, requires_grad=True), torch.arange(8) % 2
    for batches in (Batches(x, y, batch_size=4), [(x, y)]):
        quiet(mlp(6, 2), batches, epochs=1)
        assert x.grad is None


@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("make", [nn.CrossEntropyLoss, lambda **settings: partial(F.cross_entropy, **settings)])
def test_a_loss_that_is_no_mean_is_refused(make, reduction):
    with pytest.raises(TrainingError, match=reduction):
        quiet(mlp(6, 3), Batches(*random_classes(), batch_size=8), epochs=1, loss=make(reduction=reduction))


def test_classes_that_are_not_int64_are_refused():
    x, y = random_classes()
    with pytest.raises(TrainingError, match=r"targets\.long"):
        quiet(mlp(6, 3), Batches(x, y.to(torch.uint8), batch_size=8), epochs=1)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    model = mlp(6, 3)
    quiet(model, Batches(*random_classes(), batch_size=8), epochs=1, checkpoint=tmp_path)
    content = Checkpoint(tmp_path).file.read_bytes()
    last = partial(torch.optim.SGD, lr=math.inf)
    with pytest.raises(TrainingError, match="last good file was kept"):
        quiet(model, Batches(*random_classes(), batch_size=40), epochs=1, optimizer=last, checkpoint=tmp_path / "b")
    assert not Checkpoint(tmp_path / "b").file.exists()
    assert Checkpoint(tmp_path).file.read_bytes() == content
