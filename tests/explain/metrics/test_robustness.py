"""Max-sensitivity and randomisation: by hand, for models that are known, and without a trace on the model."""

from copy import deepcopy
from itertools import pairwise

import pytest
import torch
from captum.metrics import sensitivity_max
from torch import nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.methods.gradients import saliency
from bigmodel_lab.explain.metrics import max_sensitivity, randomisation, randomised
from tests.explain.metrics.planted import planted


def gradient(model, x):
    with torch.enable_grad():  # Captum's metrics take it away
        x = x.detach().requires_grad_()
        return torch.autograd.grad(model(x)[:, 1].sum(), x)[0]


def fixed(model, x):
    """A map that looks at neither the model nor the input."""
    return torch.arange(float(x[0].numel())).view(1, *x.shape[1:]).expand(x.shape)


def net(*sizes):
    torch.manual_seed(0)
    pairs = pairwise(sizes)
    return nn.Sequential(*[layer for a, b in pairs for layer in (nn.Linear(a, b), nn.Tanh())][:-1]).eval()


class TestMaxSensitivity:
    def test_by_hand(self):
        x = torch.tensor([[3.0, 4.0], [6.0, 8.0]])
        noise = [
            0.5 * (2 * torch.rand(1, 2, generator=g) - 1) for g in [torch.Generator().manual_seed(0)] for _ in "12"
        ]
        largest = max(e.norm().item() for e in noise)
        scores = max_sensitivity(x, lambda model, x: x, sum, x, radius=0.5, samples=2)
        assert scores.tolist() == pytest.approx([largest / 5, largest / 10])

    def test_a_gradient_of_a_linear_model_does_not_move(self):
        model, x = net(6, 3), torch.rand(4, 6)
        assert max_sensitivity(gradient(model, x), gradient, model, x).tolist() == [0.0] * 4

    def test_more_radius_and_more_samples_find_more(self):
        model, x = net(6, 8, 3), torch.rand(4, 6)
        values = gradient(model, x)
        found = [
            max_sensitivity(values, gradient, model, x, radius=r, samples=n)
            for r, n in ((0.1, 5), (0.1, 20), (0.5, 20))
        ]
        assert (found[0] <= found[1]).all()
        assert (found[1] < found[2]).all()
        assert (found[0] > 0).all()
        torch.testing.assert_close(
            max_sensitivity(9 * values, lambda m, x: 9 * gradient(m, x), model, x, samples=5), found[0]
        )

    def test_it_is_captums_on_the_same_noise(self):
        model, x = net(6, 8, 3), torch.rand(4, 6)
        generator = torch.Generator().manual_seed(0)
        draws = [0.1 * (2 * torch.rand(1, 6, generator=generator) - 1) for _ in range(10)]
        noise = iter(draws)
        theirs = sensitivity_max(
            lambda x: (gradient(model, *x),),
            x,
            lambda x: (x + next(noise),),
            n_perturb_samples=10,
            max_examples_per_batch=4,
        )
        torch.testing.assert_close(max_sensitivity(gradient(model, x), gradient, model, x).float(), theirs)

    def test_zeros_that_stay_so_do_not_move_and_others_have_no_size(self):
        x = torch.rand(2, 3)
        zeros = torch.zeros_like(x)
        assert max_sensitivity(zeros, lambda model, x: zeros, sum, x).tolist() == [0.0, 0.0]
        assert max_sensitivity(zeros, lambda model, x: x, sum, x).isnan().all()

    def test_token_ids_are_moved_in_their_embedding(self):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 2)).eval()
        ids, hooks = torch.randint(0, 9, (6, 3)), len(model[0]._forward_hooks)

        def explain(model, ids):
            return saliency(model, ids, 1, embedding=model[0]).values

        values, before = explain(model, ids), model(ids)
        scores = max_sensitivity(values, explain, model, ids, embedding=model[0])
        assert ((scores > 0) & (scores < 1)).all()
        assert (max_sensitivity(values, explain, model, ids, embedding=model[0], radius=0.5) > scores).all()
        one = max_sensitivity(values[:1], explain, model, ids[:1], embedding=model[0])
        torch.testing.assert_close(one, scores[:1], rtol=1e-4, atol=1e-6)
        assert len(model[0]._forward_hooks) == hooks
        assert torch.equal(model(ids), before)
        with pytest.raises(InputError, match="the module that embeds them: max_sensitivity"):
            max_sensitivity(values, explain, model, ids)

    def test_the_embedding_is_free_again_when_explaining_fails(self):
        model, ids, *_ = planted("ids")

        def explain(model, ids):
            raise RuntimeError("never")

        with pytest.raises(RuntimeError, match="never"):
            max_sensitivity(torch.ones(8, 12), explain, model, ids, embedding=model.embedding)
        assert not model.embedding._forward_hooks

    def test_what_does_not_fit_is_refused(self):
        model, x = net(6, 3), torch.rand(4, 6)
        for wrong in ({"radius": 0}, {"radius": float("inf")}, {"samples": 0}):
            with pytest.raises(InputError, match="at least 1 sample, and a radius above 0"):
                max_sensitivity(x, fixed, model, x, **wrong)
        with pytest.raises(InputError, match="explain to return values of shape \\(4, 6\\)"):
            max_sensitivity(x, lambda model, x: x[:, :3], model, x)
        with pytest.raises(InputError, match="finite values"):
            max_sensitivity(x, lambda model, x: x / 0, model, x)
        with pytest.raises(InputError, match="values in the shape of the inputs"):
            max_sensitivity(x[:2], fixed, model, x)


class TestRandomisation:
    def test_by_hand(self):
        model, x = net(4, 3), torch.tensor([[1.0, 2.0, 3.0, 4.0]])
        again = torch.tensor([[1.0, -3.0, 2.0, 4.0]])  # ranks 1 3 2 4: 1 - 6 · 2 / (4 · 15)
        assert randomisation(x, lambda model, x: again, model, x).tolist() == pytest.approx([0.8])
        assert randomisation(x, lambda model, x: -x.flip(1), model, x).tolist() == pytest.approx([-1.0])

    def test_a_map_that_ignores_the_model_does_not_change_and_one_that_reads_it_does(self):
        model, x = net(64, 32, 16, 3), torch.rand(20, 64)
        for layers in ("all", "top"):
            assert randomisation(fixed(model, x), fixed, model, x, layers=layers).tolist() == pytest.approx([1.0] * 20)
        score = randomisation(gradient(model, x), gradient, model, x)
        assert abs(score.mean().item()) < 0.2

    def test_a_seeded_model_does_not_get_its_first_weights_back(self):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 3)).eval()
        copy = randomised(model, torch.rand(1, 4), seed=0)
        assert not torch.allclose(copy[0].weight, model[0].weight)

    def test_constant_maps(self):
        model, x = net(4, 3), torch.rand(2, 4)
        flat = torch.ones_like(x)
        assert randomisation(flat, lambda model, x: 0 * x, model, x).tolist() == [1.0, 1.0]
        assert randomisation(flat, lambda model, x: x, model, x).tolist() == [0.0, 0.0]
        assert randomisation(x, lambda model, x: flat, model, x).tolist() == [0.0, 0.0]

    def test_the_model_is_not_touched_and_neither_is_the_generator(self):
        model, x = net(6, 5, 3), torch.rand(4, 6)
        before, state = deepcopy(model.state_dict()), torch.get_rng_state()
        randomisation(gradient(model, x), gradient, model, x)
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert not any(module._forward_hooks for module in model.modules())

    def test_top_is_the_layer_that_runs_last_wherever_it_is_written(self):
        class Backwards(nn.Module):
            def __init__(self):
                super().__init__()
                self.last, self.first = nn.Linear(5, 3), nn.Linear(6, 5)

            def forward(self, x):
                return self.last(torch.tanh(self.first(x)))

        model, x = Backwards().eval(), torch.rand(2, 6)
        copy = randomised(model, x, layers="top")
        assert torch.equal(copy.first.weight, model.first.weight)
        assert not torch.equal(copy.last.weight, model.last.weight)
        assert not any(module._forward_hooks for module in copy.modules())
        everything = randomised(model, x)
        assert not torch.equal(everything.first.weight, model.first.weight)

    def test_weights_that_no_layer_resets_are_drawn_with_their_own_spread(self):
        class Bare(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(5 + 2 * torch.randn(400, 3))

            def forward(self, x):
                return x @ self.weight

        model, x = Bare().eval(), torch.rand(2, 400)
        copy, again, other = (randomised(model, x, seed=seed).weight for seed in (0, 0, 1))
        assert torch.equal(copy, again)
        assert not torch.equal(copy, other)
        assert copy.mean().item() == pytest.approx(5, abs=0.3)
        assert copy.std().item() == pytest.approx(2, abs=0.3)

    def test_what_does_not_fit_is_refused(self):
        model, x = net(6, 3), torch.rand(4, 6)
        with pytest.raises(InputError, match=r"an nn\.Module as forward"):
            randomisation(x, fixed, lambda x: x, x)
        with pytest.raises(InputError, match='layers "all" or "top"'):
            randomisation(x, fixed, model, x, layers="bottom")
        with pytest.raises(InputError, match="a model with weights"):
            randomisation(x, fixed, nn.Flatten().eval(), x)
        with pytest.raises(InputError, match="evaluation mode"):
            randomisation(x, fixed, nn.Linear(6, 3), x)
        with pytest.raises(InputError, match="explain to return"):
            randomisation(x, lambda model, x: x[:2], model, x)
