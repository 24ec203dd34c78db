"""TracIn: closed form, Captum, planted wrong labels, models that vmap cannot follow, refusals."""

import pytest
import torch
import torch.nn.functional as F
from captum.influence import TracInCP
from torch import nn
from torch.utils.data import TensorDataset

from bigmodel_lab import models
from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.methods.influence import self_influence, tracin


def half_squares(output, target):
    return (output[:, 0] - target).square().mean() / 2


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_closed_form_on_a_linear_model():
    """∇loss = residual · (x, 1): influence is residual · residual' · (x · x' + 1), summed over checkpoints."""
    model = nn.Linear(3, 1).double().eval()
    checkpoints = [{"weight": drawn(1, 3, seed=s), "bias": drawn(1, seed=s + 9)} for s in (1, 2)]
    x, y, x_train, y_train = drawn(4, 3), drawn(4, seed=3), drawn(7, 3, seed=4), drawn(7, seed=5)
    found = tracin(
        model, x, y, training=(x_train, y_train), checkpoints=checkpoints, rates=[0.5, 0.1], loss=half_squares
    )
    want = torch.zeros(4, 7, dtype=torch.float64)
    for rate, state in zip([0.5, 0.1], checkpoints, strict=True):
        residual, other = (a @ state["weight"][0] + state["bias"] - b for a, b in ((x, y), (x_train, y_train)))
        want += rate * residual[:, None] * other[None] * (x @ x_train.T + 1)
    torch.testing.assert_close(found.values, want)
    assert found.gap is None
    assert found.forwards == found.backwards == 2 * (4 + 7)


def network(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype).eval()


def states(model, count=3):
    torch.manual_seed(1)
    return [{n: p + 0.1 * torch.randn_like(p) for n, p in model.state_dict().items()} for _ in range(count)]


def test_equals_captum(tmp_path):
    model = network()
    checkpoints = states(model)
    torch.manual_seed(2)
    x, y, x_train, y_train = torch.randn(5, 4), torch.randint(3, (5,)), torch.randn(20, 4), torch.randint(3, (20,))
    files = []
    for n, state in enumerate(checkpoints):
        files.append(str(tmp_path / f"{n}.pt"))
        torch.save(state, files[-1])

    def load(net, file):
        net.load_state_dict(torch.load(file))
        return 0.1

    theirs = TracInCP(
        network(),
        TensorDataset(x_train, y_train),
        files,
        load,
        loss_fn=nn.CrossEntropyLoss(reduction="none"),
        batch_size=20,
    )
    ours = tracin(model, x, y, training=(x_train, y_train), checkpoints=checkpoints, rates=0.1, chunk=7)
    torch.testing.assert_close(ours.values, theirs.influence((x, y)), atol=1e-4, rtol=1e-4)
    alone = self_influence(model, x_train, y_train, checkpoints=checkpoints, rates=0.1)
    torch.testing.assert_close(alone.values, theirs.self_influence(), atol=1e-4, rtol=1e-4)
    pairs = tracin(model, x_train, y_train, training=(x_train, y_train), checkpoints=checkpoints, rates=0.1)
    torch.testing.assert_close(alone.values, pairs.values.diagonal(), atol=1e-5, rtol=1e-4)


def test_finds_planted_wrong_labels():
    torch.manual_seed(0)
    centres = 2.5 * torch.eye(3, 4)
    y = torch.arange(150) % 3
    x, wrong = centres[y] + 0.6 * torch.randn(150, 4), torch.randperm(150)[:15]
    labels = y.clone()
    labels[wrong] = (labels[wrong] + 1) % 3
    model, checkpoints = network().train(), []
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for step in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()
        if step % 20 == 19:
            checkpoints.append({n: v.clone() for n, v in model.state_dict().items()})
    found = self_influence(model.eval(), x, labels, checkpoints=checkpoints).values
    caught = set(found.topk(15).indices.tolist()) & set(wrong.tolist())
    assert len(caught) >= 12
    by_chance = set(torch.randperm(150)[:15].tolist()) & set(wrong.tolist())
    assert len(by_chance) < 6


def test_an_example_s_own_class_pulls_and_a_wrong_label_pushes():
    model = nn.Linear(2, 2).eval()
    x = torch.tensor([[1.0, 0.0]])
    found = tracin(model, x, torch.tensor([0]), training=(x.repeat(2, 1), torch.tensor([0, 1]))).values
    assert found[0, 0] > 0 > found[0, 1]


def test_parameters_by_name():
    model = network()
    x, y = torch.randn(3, 4), torch.tensor([0, 1, 2])
    whole = self_influence(model, x, y).values
    parts = [self_influence(model, x, y, parameters=[name]).values for name in ("0.", "2.")]
    torch.testing.assert_close(whole, parts[0] + parts[1])


def test_a_model_that_vmap_cannot_follow_goes_one_by_one():
    torch.manual_seed(0)
    config = models.rnn.RNNConfig(vocabulary=9, outputs=2, width=6, embedding=5)
    model = models.rnn.SequenceClassifier(config).eval()
    ids, y = torch.randint(1, 9, (3, 4)), torch.tensor([0, 1, 1])
    found = self_influence(model, ids, y)
    want = []
    for one, label in zip(ids, y, strict=True):
        loss = F.cross_entropy(model(one[None]), label[None])
        want.append(sum(g.square().sum() for g in torch.autograd.grad(loss, model.parameters())))
    torch.testing.assert_close(found.values, torch.stack(want), atol=1e-5, rtol=1e-4)


def test_batch_statistics_come_from_the_checkpoint():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)).eval()
    states = {name: value.clone() for name, value in model.state_dict().items()}
    states["0.running_mean"] += 3
    x, y = torch.randn(4, 2), torch.tensor([0, 1, 0, 1])
    found = self_influence(model, x, y, checkpoints=[states]).values
    assert (found - self_influence(model, x, y).values).abs().max() > 0.01
    assert model[0].running_mean.abs().max() == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoints": [{"weight": torch.ones(1)}]}, "checkpoints of this model"),
        ({"rates": [0.1, 0.2]}, "one learning rate per checkpoint"),
        ({"checkpoints": []}, "one learning rate per checkpoint"),
        ({"parameters": ["head"]}, "names of parameters, such as 0.weight"),
        ({"chunk": 0}, "a chunk of at least 1"),
        ({"target": torch.tensor([0, 1])}, "with a target for each"),
        ({"target": torch.tensor([0, 1, 5])}, "a loss that takes outputs"),
        ({"loss": lambda o, t: F.cross_entropy(o, t, reduction="none")}, "a loss that returns one number"),
        ({"inputs": torch.tensor([[torch.nan] * 4] * 3)}, "finite inputs"),
        ({"loss": lambda o, t: (200 * o.abs().sum() + 200).exp()}, "finite gradients"),
    ],
)
def test_says_what_is_wrong(changes, message):
    options = {"forward": network(), "inputs": torch.randn(3, 4), "target": torch.tensor([0, 1, 2])}
    with pytest.raises(InputError, match=message):
        self_influence(**options | changes)


def test_refuses_functions_training_mode_and_empty_training_sets():
    x, y = torch.randn(3, 4), torch.tensor([0, 1, 2])
    with pytest.raises(InputError, match=r"an nn\.Module"):
        self_influence(lambda x: x, x, y)
    with pytest.raises(InputError, match="evaluation mode"):
        self_influence(network().train(), x, y)
    with pytest.raises(InputError, match="training examples as tensors"):
        tracin(network(), x, y, training=(x[:0], y[:0]))


def test_leaves_the_model_as_it_was():
    model = network()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    x, y = torch.randn(3, 4), torch.tensor([0, 1, 2])
    model[0].weight.requires_grad_(False)
    self_influence(model, x, y, checkpoints=states(model))
    with pytest.raises(ZeroDivisionError):
        self_influence(model, x, y, loss=lambda o, t: 1 / 0 if o.requires_grad else o)
    assert all(torch.equal(before[n], v) for n, v in model.state_dict().items())
    assert not model[0].weight.requires_grad
    assert all(p.grad is None for p in model.parameters())


def test_in_inference_mode_and_with_what_was_made_there():
    model, x, y = network(), torch.randn(3, 4), torch.tensor([0, 1, 2])
    want = tracin(model, x, y, training=(x, y)).values, self_influence(model, x, y).values
    with torch.inference_mode():
        pair, checkpoints = (x.clone(), y.clone()), [{n: v.clone() for n, v in model.state_dict().items()}]
        found = [
            tracin(model, *pair, training=pair, checkpoints=checkpoints).values,
            self_influence(model, *pair, checkpoints=checkpoints).values,
        ]
        assert torch.is_inference_mode_enabled()
    found += [tracin(model, *pair, training=pair).values, self_influence(model, *pair, checkpoints=checkpoints).values]
    for got, right in zip(found, 2 * want, strict=True):
        torch.testing.assert_close(got, right)
        assert not got.is_inference()


def test_a_backward_hook_of_the_user_rests_and_comes_back():
    model, x, y = network(), torch.randn(3, 4), torch.tensor([0, 1, 2])
    want, seen = self_influence(model, x, y).values, []
    model[0].register_full_backward_hook(lambda *_: seen.append("after"))
    model[2].register_full_backward_pre_hook(lambda *_: seen.append("before"))
    found = self_influence(model, x, y)
    torch.testing.assert_close(found.values, want)
    assert not seen
    assert not found.notes
    F.cross_entropy(model(x.requires_grad_()), y).backward()
    assert seen == ["before", "after"]


def test_an_error_that_comes_once_is_the_models_own_and_reaches_the_caller():
    class Once(nn.Module):
        def __init__(self):
            super().__init__()
            self.map, self.calls = nn.Linear(4, 3), 0

        def forward(self, x):
            self.calls += 1
            if self.calls == 1:
                raise RuntimeError("the disk is full")
            return self.map(x)

    x, y = torch.randn(3, 4), torch.tensor([0, 1, 2])
    with pytest.raises(RuntimeError, match="the disk is full"):
        self_influence(Once().eval(), x, y)
