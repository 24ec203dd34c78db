"""What the audit says of a model is what is measured: for a zoo of models, each method against its own definition."""

import copy
import warnings
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.auditing import Audit, Finding, audit
from bigmodel_lab.explain.auditing.libraries import SHAP_RULES
from bigmodel_lab.explain.methods import rules
from bigmodel_lab.models.cnn import CNN, CNNConfig
from bigmodel_lab.models.rnn import RNNConfig, SequenceClassifier
from bigmodel_lab.models.transformer import TextClassifier, TransformerConfig, ViT
from tests.explain.zoo import METHODS, ZOO, Calls, Explained, build, measure


@cache
def audited(name):
    """The report on a model of the zoo."""
    model, inputs, *_ = build(name, 0)
    return audit(model, inputs)


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("name", list(ZOO))
def test_a_method_is_called_wrong_exactly_where_it_is(name, method):
    for seed in (0, 1, 2):
        seen = measure(method, *build(name, seed))
        if seen != "right":  # what is right on one set of weights may be luck, what is wrong is none
            break
    report = audited(name)
    assert report.verdict(method) == seen, str(report)


# Ways to write a ReLU, or to cut a graph, that guided_backprop does not notice.
AUDIT_ONLY = ("clamp(min=0)", "detached", "max with 0", "x * (x > 0)")


@pytest.mark.parametrize("method", ["deep_lift", "deep_shap", "guided_backprop", "lrp"])
@pytest.mark.parametrize("name", list(ZOO))
def test_our_own_methods_are_right_where_the_audit_says_so_and_never_wrong_without_a_word(name, method):
    model, inputs, base, target, embedding = build(name, 0)
    verdict = audited(name).verdict(method)
    background = torch.zeros_like(inputs[:1]) if base is None else base
    more = {"background": background} if method == "deep_shap" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = getattr(rules, method)(model, inputs, target, base, embedding=embedding, **more)
        except (InputError, ValueError):
            assert verdict != "right" or (method == "guided_backprop" and name == "linear")  # it refuses: no ReLU
            return
    if method == "guided_backprop":
        right = Explained(model, inputs, base, target, embedding).guided()[0]
        close = embedding is not None or torch.allclose(found.values, right, atol=1e-5 * float(right.abs().max()))
        assert close or found.notes or name in AUDIT_ONLY
    elif method == "lrp":  # what returns was held against input × gradient, to 1 %
        right = Explained(model, inputs, base, target, embedding).relevance()
        torch.testing.assert_close(found.values, right, rtol=0.02, atol=0.02 * float(right.abs().max()))
    else:
        score = 0.01 + (found.values.flatten(1).sum(1) - found.gap).abs().max()
        assert (verdict == "right") == bool(found.gap.abs().max() <= 1e-3 * score)
        assert verdict == "right" or found.notes


@pytest.mark.parametrize("name", ["F.relu", "gated", "residual, before", "CNN, pool after ReLU", "course ViT"])
def test_the_verdicts_do_not_depend_on_weights_and_inputs(name):
    reports = [audit(*build(name, seed)[:2]) for seed in range(4)]
    assert all(report.findings == reports[0].findings for report in reports)


def test_the_list_of_rules_of_shap_is_that_of_shap():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from shap.explainers._deep.deep_pytorch import op_handler
    assert {name for name, rule in op_handler.items() if rule.__name__ in ("nonlinear_1d", "maxpool")} == SHAP_RULES


def test_a_finding_names_the_place_the_thing_the_methods_and_the_way_out():
    (finding,) = audit(Calls(F.relu)).wrong["deep_lift"]
    assert (finding.where, finding.what) == ("the model", "functional relu")
    assert {"deep_lift", "deep_shap", "guided_backprop", "guided_grad_cam", "shap_deep"} == set(finding.wrong)
    assert "mend" in finding.do
    assert "lrp" not in audit(Calls(F.relu)).wrong  # the mask of a ReLU is all that the ε-rule needs


def test_the_report_can_be_read():
    report = audit(TextClassifier(TransformerConfig(vocabulary=20, width=8, heads=2, depth=3)))
    text, table = str(report), report.table()
    for part in ("silently wrong: deep_lift", "raises an error: lrp", "scaled_dot_product_attention, 3 calls"):
        assert part in text
    assert "encoder.stack.blocks.*.norm_mlp" in table
    assert "encoder.stack.blocks.1.norm_mlp" in {finding.where for finding in report.findings}
    assert len({line.count("|") for line in table.splitlines()}) == 1
    assert "made-up inputs of shape (2, 16)" in text
    with pytest.raises(AttributeError):
        report.findings = ()


def test_a_method_that_raises_is_not_silently_wrong():
    one = Finding(where="a", what="b", why="c", wrong=("lrp", "deep_lift"))
    other = Finding(where="d", what="e", why="f", loud=("lrp",))
    report = Audit(model="M", findings=(one, other), inputs=(2, 3))
    assert (report.verdict("lrp"), report.verdict("deep_lift"), report.verdict("saliency")) == (
        "loud",
        "wrong",
        "right",
    )
    assert report.verdict("captum.DeepLift") == "wrong"
    assert set(report.wrong) == {"deep_lift"}
    assert set(report.loud) == {"lrp"}


def test_fused_attention_has_no_second_derivative():
    q = torch.randn(1, 2, 4, 8, requires_grad=True)
    (slope,) = torch.autograd.grad(F.scaled_dot_product_attention(q, q, q).sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="not implemented"):
        torch.autograd.grad(slope.sum(), q)


def test_a_graph_that_is_cut_makes_every_gradient_wrong():
    assert "integrated_gradients" in audit(Calls(lambda x: x.detach())).wrong
    assert "integrated_gradients" not in audit(Calls(F.relu)).wrong


@pytest.mark.parametrize(
    "make",
    [
        lambda: CNN(CNNConfig(widths=(4, 4))),
        lambda: ViT(),
        lambda: SequenceClassifier(RNNConfig(vocabulary=9)),
        lambda: SequenceClassifier(RNNConfig(inputs=5)),
        lambda: nn.Sequential(nn.Conv1d(2, 3, 5), nn.Flatten(), nn.Linear(84, 2)),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 2)),
    ],
    ids=["CNN", "ViT", "ids", "numbers", "Conv1d", "pixels"],
)
def test_inputs_are_made_up_where_none_are_given(make):
    report = audit(make())
    assert report.notes
    assert report.inputs[0] == 2


def test_the_model_is_left_as_it_was():
    model = CNN(CNNConfig(widths=(4, 4))).train()
    model.stages[0].eval()
    model.head.weight.requires_grad_(False)
    inputs = torch.rand(3, 3, 16, 16)
    kept, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    flags = [(module.training, len(module._forward_hooks), set(vars(module))) for module in model.modules()]
    audit(model, inputs)
    assert flags == [(module.training, len(module._forward_hooks), set(vars(module))) for module in model.modules()]
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not model.head.weight.requires_grad
    assert torch.equal(state, torch.get_rng_state())


def test_inputs_are_left_as_they_were_also_from_inference_mode():
    model = Calls(lambda x: x.relu_())
    with torch.inference_mode():
        assert "deep_lift" in audit(model, torch.randn(2, 6)).wrong
    inputs = torch.randn(2, 6)
    before = inputs.clone()
    audit(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 2)), inputs)
    assert torch.equal(before, inputs)
    assert not inputs.requires_grad


def test_what_cannot_be_followed_is_said():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.ones(len(x), 2)

    assert audit(Constant(), torch.randn(2, 3)).verdict("deep_lift") == "wrong"


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (torch.relu, None, "nn.Module"),
        (nn.Linear(3, 2), torch.zeros(0, 3), r"\(B, ...\)"),
        (nn.Linear(3, 2), torch.zeros(3), "unsqueeze"),
        (nn.Linear(3, 2), [[1.0]], "list"),
        (nn.Bilinear(3, 3, 2), None, "example_inputs"),
    ],
    ids=["function", "empty", "one", "list", "unknown"],
)
def test_what_is_no_model_or_no_batch_is_refused(model, inputs, message):
    with pytest.raises(InputError, match=message):
        audit(model, inputs)
