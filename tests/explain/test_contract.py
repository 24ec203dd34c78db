"""The contract of every method: what a run selects, counts, cuts into chunks, and says; on a GPU as on a CPU."""

import warnings
from dataclasses import FrozenInstanceError

import pytest
import torch
from torch import nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import Explanation, Scores, running, select
from tests.explain.methods_found import METHODS, Image, Language, arguments, sample

# Methods that draw at random for the whole batch, or take it as one.
ALTOGETHER = ("gradient_shap", "kernel_shap", "lime", "llm_attribution", "shap_gradient", "shapley_sampling")
ALTOGETHER += ("smoothgrad", "smoothgrad_squared", "smoothgrads", "tcav", "vargrad")


def explanation(**changed):
    parts = {"method": "m", "values": torch.zeros(2, 3), "gap": None, "forwards": 4, "backwards": 2, "seconds": 0.5}
    return Explanation(**parts | changed)


class TestExplanation:
    def test_is_as_long_as_it_has_examples_and_says_what_it_cost(self):
        assert len(explanation()) == 2
        assert repr(explanation()) == "Explanation(m, values (2, 3), 4 forwards, 2 backwards, 0.50 s)"

    def test_is_frozen(self):
        with pytest.raises(FrozenInstanceError):
            explanation().values = None


class TestSelect:
    def test_takes_one_score_per_example(self):
        output = torch.arange(6.0).view(2, 3)
        assert select(output, torch.tensor([[2], [0]])).tolist() == [2, 3]

    def test_takes_a_place_and_a_token(self):
        output = torch.arange(24.0).view(2, 3, 4)
        assert select(output, torch.tensor([[1, 2], [0, 3]])).tolist() == [6, 15]

    @pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 1, 1)], ids=str)
    def test_takes_the_only_one_where_there_is_one(self, shape):
        assert select(torch.arange(3.0).view(shape), None).tolist() == [0, 1, 2]


TARGETS = {
    "one class": (1, [1, 1]),
    "one class each": (torch.tensor([2, 0]), [2, 0]),
    "a column": (torch.tensor([[2], [0]]), [2, 0]),
    "a NumPy integer": (torch.tensor(2).numpy()[()], [2, 2]),
    "a list": ([2, 0], [2, 0]),
}


class TestTargets:
    @pytest.mark.parametrize("kind", list(TARGETS))
    def test_of_classes(self, kind):
        target, classes = TARGETS[kind]
        model, x, _ = sample("saliency")
        with running("m", model, x, target) as run:
            torch.testing.assert_close(run.score, model(x)[torch.arange(2), classes])

    @pytest.mark.parametrize(
        ("target", "places"),
        [((1, 3), [(1, 3), (1, 3)]), (torch.tensor([[0, 2], [3, 1]]), [(0, 2), (3, 1)]), ((-1, 3), None), ((1,), None)],
        ids=["one for all", "one each", "negative", "too short"],
    )
    def test_of_language_models(self, target, places):
        model, ids = Language().eval(), torch.tensor([[5, 6, 5, 6], [6, 6, 5, 5]])
        if places is None:
            with pytest.raises(InputError, match="target"), running("m", model, ids, target, embedding=model.embed):
                pass
            return
        with running("m", model, ids, target, embedding=model.embed) as run:
            want = torch.stack([model(ids)[i, t, v] for i, (t, v) in enumerate(places)])
            torch.testing.assert_close(run.score, want)
            torch.testing.assert_close(run.x, model.embed(ids))
            assert run.x0.eq(0).all()

    def test_may_be_left_out_for_a_single_score(self):
        for forward in (lambda x: x.sum(1), lambda x: x.sum(1, keepdim=True)):
            with running("m", forward, torch.ones(2, 3)) as run:
                assert run.score.tolist() == [3, 3]
                assert run.target is None

    def test_from_inference_mode_serves(self):
        model, x, target = sample("saliency")
        with torch.inference_mode():
            found = METHODS["saliency"](model, x.clone(), target.clone())
        torch.testing.assert_close(found.values, METHODS["saliency"](model, x, target).values)


class TestBaselines:
    @pytest.mark.parametrize(
        "baseline",
        [None, 0.5, 1, torch.tensor(0.5), torch.rand(1, 8, 8), torch.rand(1, 1, 8, 8), torch.rand(2, 1, 8, 8)],
        ids=["none", "number", "integer", "tensor", "example", "batch of one", "batch"],
    )
    def test_fill_the_inputs_shape(self, baseline):
        with running("m", Image().eval(), torch.rand(2, 1, 8, 8), 0, baseline) as run:
            assert run.x0.shape == run.x.shape
            assert run.x0.dtype == run.x.dtype
            torch.testing.assert_close(run.change(), run.score - run.model(run.x0)[:, 0])

    def test_of_ids_are_ids(self):
        model, ids = Language().eval(), torch.tensor([[5, 6, 5]])
        with running("m", model, ids, (0, 0), 4, embedding=model.embed) as run:
            torch.testing.assert_close(run.x0, model.embed(torch.full_like(ids, 4)))
        for wrong in (0.5, torch.zeros(1, 3)):
            with pytest.raises(InputError, match="token ids"), running("m", model, ids, (0, 0), wrong, discrete=True):
                pass


class TestCounting:
    def test_rows_both_ways(self):
        model, x, target = sample("saliency")
        scores = Scores(model)
        places = target.view(-1, 1)
        scores(x, places)
        x.requires_grad_()
        torch.autograd.grad(scores(x, places).sum(), x)
        assert (scores.forwards, scores.backwards) == (4, 2)

    def test_of_a_method(self):
        model, x, target = sample("saliency")
        found = METHODS["saliency"](model, x, target)
        assert (found.forwards, found.backwards) == (4, 2)  # one look at the scores, then one gradient each
        assert found.seconds > 0
        assert found.gap is None

    @pytest.mark.parametrize("name", [name for name in METHODS if name not in ("smoothgrads", "tcav")])
    def test_what_is_counted_is_what_the_model_saw(self, name):
        seen = []
        model, x, target = sample(name, lambda x: seen.append(len(x)) or x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = METHODS[name](model, x, target, **arguments(name, model))
        if name in ("tracin", "self_influence"):  # under vmap each call is a batch
            assert found.forwards > len(seen)
        elif name in ("attention_map", "attention_rollout"):  # `maps` runs the model as well; this one does not
            assert found.forwards == sum(seen) + 2
        else:
            assert found.forwards == sum(seen)

    def test_embeddings_are_put_in_for_one_call_only(self):
        model, ids = Language().eval(), torch.tensor([[5, 6, 5]])
        with running("m", model, ids, (0, 0), embedding=model.embed) as run:
            run.scores(run.x * 2, *run.extra)
            assert not model.embed._forward_hooks


class Full:
    """A machine on which `most` rows fit into memory; `kind` of error says so."""

    def __init__(self, most, error):
        self.most, self.error, self.sizes = most, error, []

    def __call__(self, x):
        if len(x) > self.most:
            raise self.error
        self.sizes.append(len(x))
        return x


ERRORS = {
    "CUDA": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "CPU": RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
    "MPS": RuntimeError("MPS backend out of memory"),
    "Python": MemoryError(),
}


class TestMemory:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [*(("saliency", kind) for kind in ERRORS), ("integrated_gradients", "CUDA"), ("kernel_shap", "CPU")],
    )
    def test_chunks_shrink_and_it_is_said(self, name, kind):
        _, _, target = sample(name)
        x, target = torch.randn(9, 1, 8, 8), torch.arange(9) % 3
        model = Image().eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            want = METHODS[name](model, x, target, **arguments(name, model))
        model.call = full = Full(4, ERRORS[kind])
        with pytest.warns(UserWarning, match="do not fit into memory"):
            found = METHODS[name](model, x, target, **arguments(name, model))
        torch.testing.assert_close(found.values, want.values, rtol=1e-4, atol=1e-5)
        assert any("do not fit into memory" in note for note in found.notes)
        assert max(full.sizes) <= 4

    def test_halves_until_it_fits_and_stays_there(self):
        full = Full(3, ERRORS["CUDA"])
        model, x = Image(full).eval(), torch.randn(20, 1, 8, 8)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            with running("m", model, x, 0) as run:
                assert full.sizes == [2] * 10  # 20, 10, 5, 2
                full.sizes.clear()
                values = run.each(lambda part: run.scores(part.x, *part.extra), chunk=6)
        assert full.sizes == [3] * 6 + [2]
        assert [str(one.message).split(": ")[1] for one in seen] == [
            "20 rows at once do not fit into memory; now 10",
            "10 rows at once do not fit into memory; now 5",
            "5 rows at once do not fit into memory; now 2",
            "6 rows at once do not fit into memory; now 3",
        ]
        torch.testing.assert_close(values, run.score)

    def test_one_row_that_does_not_fit_is_an_error(self):
        model = Image(Full(0, ERRORS["CUDA"])).eval()
        with pytest.raises(torch.OutOfMemoryError), running("m", model, torch.randn(1, 1, 8, 8), 0):
            pass

    def test_another_error_is_no_lack_of_memory(self):
        model = Image(Full(0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))).eval()
        with pytest.raises(RuntimeError, match="mat1"), running("m", model, torch.randn(4, 1, 8, 8), 0):
            pass

    def test_many_changed_inputs_are_evaluated_in_chunks_without_a_graph(self):
        full = Full(5, ERRORS["Python"])
        model, x = Image().eval(), torch.randn(2, 1, 8, 8)
        rows, owner = torch.randn(13, 1, 8, 8), torch.arange(13) % 2
        with running("m", model, x, torch.tensor([0, 2])) as run:
            model.call = full
            spent = run.scores.forwards
            with pytest.warns(UserWarning, match="8 rows at once do not fit"):
                found = run.evaluate(13, lambda i, j: rows[i:j], owner, chunk=8)
            assert run.scores.forwards == spent + 13  # what failed is not counted
        assert not found.requires_grad
        torch.testing.assert_close(found, model(rows)[torch.arange(13), owner * 2])
        assert full.sizes == [4, 4, 4, 1]

    def test_a_note_is_said_once(self):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            with running("m", Image().eval(), torch.randn(1, 1, 8, 8), 0) as run:
                run.note("more steps")
                run.note("more steps")
        assert [str(one.message) for one in seen] == ["more steps"]
        assert run.notes == ["more steps"]


class TestSurroundings:
    @pytest.mark.parametrize("name", list(METHODS))
    def test_inference_mode_changes_nothing(self, name):
        model, x, target = sample(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            want = METHODS[name](model, x, target, **arguments(name, model))
            given = arguments(name, model)
            with torch.inference_mode():
                found = METHODS[name](model, x.clone(), target.clone(), **given)
        for one, other in zip(_values(found), _values(want), strict=True):
            torch.testing.assert_close(one, other)
            assert name in ("tracin", "self_influence") or not one.is_inference()

    @pytest.mark.parametrize("name", list(METHODS))
    def test_a_batch_is_explained_as_its_examples_are(self, name):
        if (
            name in ("tcav", "llm_attribution", "gradient_shap", "shap_gradient", "lime")
            or "smooth" in name
            or "var" in name
        ):
            pytest.skip("draws at random for the batch, or takes one prompt")
        if name in ("kernel_shap", "shapley_sampling"):
            pytest.skip("draws at random for the batch")
        model, x, target = sample(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            both = METHODS[name](model, x, target, **arguments(name, model))
            alone = [METHODS[name](model, x[i : i + 1], target[i : i + 1], **arguments(name, model)) for i in range(2)]
        torch.testing.assert_close(both.values, torch.cat([one.values for one in alone]), rtol=1e-3, atol=1e-5)

    def test_what_is_returned_holds_no_graph(self):
        for name in METHODS:
            model, x, target = sample(name)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = METHODS[name](model, x.requires_grad_(x.is_floating_point()), target, **arguments(name, model))
            assert not any(one.requires_grad for one in _values(found)), name

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    @pytest.mark.parametrize("name", list(METHODS))
    def test_a_gpu_gives_what_a_cpu_gives(self, name):
        results = []
        for device in ("cpu", "cuda"):
            model, x, target = sample(name)
            given = {key: _to(one, device) for key, one in arguments(name, model.to(device)).items()}
            flags = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
            with flags, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                results.append(METHODS[name](model, x.to(device), target.to(device), **given))
        for one, other in zip(*map(_values, results), strict=True):
            assert other.is_cuda or name in ("tcav", "llm_attribution")
            torch.testing.assert_close(one, other.cpu(), rtol=1e-3, atol=1e-4)


def test_a_model_without_modules_is_named_where_layers_are_needed():
    with pytest.raises(InputError, match=r"nn\.Module"), running("m", nn.functional.relu, torch.ones(1, 1)) as run:
        run.model  # noqa: B018


def _values(found):
    found = list(found.values()) if isinstance(found, dict) else [found]
    return [one.values if isinstance(one, Explanation) else torch.as_tensor(one.score) for one in found]


def _to(one, device):
    if isinstance(one, tuple) and any(isinstance(part, torch.Tensor) for part in one):
        return tuple(part.to(device) for part in one)
    return one.to(device) if isinstance(one, torch.Tensor) else one


class Fragile(nn.Module):
    """Defined for its inputs and for the baseline of ones, not for mixtures of the two."""

    def forward(self, x):
        """Return one score per row, NaN where ones and other numbers meet."""
        mixed = ((x == 1).any(1) & (x != 1).any(1))[:, None]
        return torch.where(mixed, torch.nan, x.sum(1, keepdim=True))


@pytest.mark.parametrize(
    "method", ["ablation", "exact_shapley", "kernel_shap", "lime", "occlusion", "shapley_sampling"]
)
def test_scores_of_changed_inputs_must_be_finite_too(method):
    from bigmodel_lab import explain

    with pytest.raises(InputError, match="finite scores for changed inputs") as error:
        getattr(explain, method)(Fragile().eval(), torch.full((2, 5), 3.0), baseline=1.0)
    assert "another baseline" in str(error.value)
