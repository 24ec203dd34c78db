"""The table of metrics: complete, true about its functions, and usable by the names of their arguments."""

import inspect
from math import inf

import pytest
import torch

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain import metrics
from bigmodel_lab.explain.methods.gradients import saliency
from bigmodel_lab.explain.metrics import METRICS, gini, heat, summed
from tests.explain.metrics.planted import planted, spread

KNOWN = {
    "baseline",
    "distractor",
    "embedding",
    "explain",
    "forward",
    "inputs",
    "layers",
    "probability",
    "radius",
    "samples",
    "scaled",
    "seed",
    "steps",
    "target",
    "truth",
    "values",
}


def everything(kind):
    """All that a board has of one case, and the planted truth as the explanation."""
    model, inputs, target, baseline, truth = planted(kind)
    embedding = model.embedding if kind == "ids" else None

    def explain(model, x):
        own = {"embedding": model.embedding} if kind == "ids" else {}
        return saliency(model, x, target, **own).values

    have = {"forward": model, "inputs": inputs, "target": target, "baseline": baseline, "embedding": embedding}
    return have | {"truth": truth, "distractor": ~truth, "explain": explain, "values": spread(truth.float(), inputs)}


@pytest.mark.parametrize("kind", ["images", "ids", "steps"])
@pytest.mark.parametrize("name", METRICS)
def test_each_can_be_called_by_argument_names_and_keeps_to_its_range(name, kind):
    about, have = METRICS[name], everything(kind)
    if name == "randomisation" and kind != "ids":
        have["forward"] = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(have["inputs"][0].numel(), 2)).eval()
    if name == "max_sensitivity":
        have["values"] = have["explain"](have["forward"], have["inputs"])
    asked = inspect.signature(about.function).parameters
    assert set(asked) <= KNOWN
    assert set(about.needs) <= set(have)
    scores = about.function(**{key: value for key, value in have.items() if key in asked})
    assert scores.shape == (8,)
    assert scores.dtype == torch.float64
    assert not scores.requires_grad
    assert ((scores >= about.low - 1e-12) & (scores <= about.high + 1e-12)).all()
    if about.high == 1 and name in ("relevance_mass", "relevance_rank", "pointing_game", "pixel_auc"):
        assert scores.tolist() == [1.0] * 8
    if name in ("distractor_mass", "max_sensitivity"):  # these models are linear: slopes do not move
        assert scores.tolist() == pytest.approx([0.0] * 8, abs=1e-5)


def test_the_table_is_complete_and_says_where_each_comes_from():
    functions = {name for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name))}
    assert functions - METRICS.keys() == {"heat", "randomised", "summed"}
    for name, about in METRICS.items():
        assert about.function is getattr(metrics, name)
        assert about.low < about.high <= inf
        assert any(word in about.reference for word in ("arXiv", "doi"))
        first = about.function.__doc__.split("\n")[0]
        assert first.startswith("Return")
    assert METRICS["deletion"].needs == ("values", "forward", "inputs")
    assert METRICS["distractor_mass"].needs == ("values", "distractor")
    assert METRICS["randomisation"].needs == ("values", "explain", "forward", "inputs")


def test_a_place_has_one_value():
    values = torch.tensor([[[[1.0, -2.0]], [[2.0, -3.0]]]])  # (1, 2, 1, 2)
    assert summed(values).tolist() == [[[3.0, -5.0]]]
    assert heat(values).tolist() == [[[3.0, 5.0]]]
    assert heat(values[0]).tolist() == [[1.0], [1.0]]  # as (B, T, D)
    assert heat(torch.tensor([[-1.0, 2.0]])).tolist() == [[1.0, 2.0]]


def test_gini_by_hand():
    values = torch.tensor([[1.0, 1.0, -1.0, 1.0], [0.0, 0.0, 0.0, -7.0], [0.0, 0.0, 1.0, 1.0], [0.0] * 4, [1, 2, 3, 4]])
    assert gini(values).tolist() == pytest.approx([0, 3 / 4, 1 / 2, 0, 1 / 4])
    assert gini(values * 100).tolist() == pytest.approx(gini(values).tolist())
    assert gini(torch.rand(500, 1, 8, 8)).mean().item() == pytest.approx(1 / 3, abs=0.02)  # of uniform noise


def test_gini_refuses_what_is_no_map():
    with pytest.raises(InputError, match="finite values"):
        gini(torch.tensor([[1.0, torch.nan]]))
    with pytest.raises(InputError, match="values \\(B, C, H, W\\), \\(B, T, D\\) or \\(B, T\\)"):
        gini(torch.ones(4))
