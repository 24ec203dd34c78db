"""Every method leaves everything as it was, wherever it fails, and refuses what it cannot explain.

Methods are found in the library's files: a new one is tested here without a word.
"""

import random
import warnings
from contextlib import suppress

import numpy as np
import pytest
import torch
from torch import nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import Explanation
from tests.explain.methods_found import CONTRACT, DISCRETE, METHODS, Image, arguments, sample

NAMES = list(METHODS)
READS_MAPS = ("attention_map", "attention_rollout")  # they look at the model once, for the checks
MODULE = ("deep_lift", "deep_shap", "grad_cam", "guided_backprop", "guided_grad_cam", "layer_conductance", "lrp")
MODULE += ("neuron_conductance", "shap_deep", "tcav")


@pytest.fixture(autouse=True, scope="module")
def _imported():
    """Import shap now: its import draws from Python's own generator, once in a process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap  # noqa: F401


class Boom(ArithmeticError):
    """What the planted failures raise."""


class Fuse:
    """Lets calls through until the one of number `at`; an identity for what it is given."""

    def __init__(self, at, *, backward=False):
        self.at, self.seen, self.backward = at, 0, backward

    def burn(self):
        self.seen += 1
        if self.seen == self.at:
            raise Boom("planted")

    def __call__(self, x):
        if not self.backward:
            self.burn()
            return x
        x = x.clone()
        if x.requires_grad:
            x.register_hook(lambda gradient: self.burn())
        return x


def everything(model, inputs):
    """All that a method might leave behind, in a form that can be compared."""
    found = {}
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            inside = [(key, id(one)) for key, one in value.items()] if isinstance(value, dict) else None
            found[path, name] = (id(value) if inside is not None else value, inside)
    for name, p in model.named_parameters():
        grad = None if p.grad is None else (id(p.grad), p.grad.tolist())
        hooks = len(p._backward_hooks or ()), len(getattr(p, "_post_accumulate_grad_hooks", None) or ())
        found["weights", name] = (p.requires_grad, grad, hooks, p.detach().tolist())
    for name, one in model.named_buffers():
        found["buffers", name] = one.tolist()
    found["inputs"] = (inputs.requires_grad, inputs.grad, len(inputs._backward_hooks or ()), inputs.tolist())
    found["inputs' attributes"] = sorted(vars(inputs)) if hasattr(inputs, "__dict__") else None
    cudnn = torch.backends.cudnn
    found["torch"] = (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype())
    found["cudnn"] = (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32)
    found["generators"] = (torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate())  # noqa: NPY002
    found["hooks of all modules"] = [
        len(getattr(nn.modules.module, name))
        for name in ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")
    ]
    found["warnings"] = list(warnings.filters)
    return found


def marked(name, fuse=None):
    """A sample whose model holds things of its own: a hook, a gradient, a frozen weight, an attribute."""
    model, inputs, target = sample(name, fuse or (lambda x: x))
    model.head.weight.grad = torch.ones_like(model.head.weight)
    model.relu.register_forward_hook(lambda *_: None)
    model.head.register_full_backward_hook(lambda *_: None)
    next(model.parameters()).requires_grad_(False)
    model.head.mine = {"a": 1}
    if name != "llm_attribution":
        inputs.requires_grad_()
    return model, inputs, target


def same(before, after):
    changed = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
    return not changed, changed


def run(name, model, inputs, target, **more):
    given = arguments(name, model) | more
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return METHODS[name](model, inputs, target, **given)


@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no_grad"])
@pytest.mark.parametrize("name", NAMES)
def test_success_leaves_everything_as_it_was(name, grad):
    model, inputs, target = marked(name)
    before = everything(model, inputs)
    with torch.set_grad_enabled(grad):
        run(name, model, inputs, target)
    assert same(before, everything(model, inputs)) == (True, [])


def failures():
    """The numbers of the calls that fail, until a method comes through: all of the first, then ever fewer."""
    at = 1
    while True:
        yield at
        at += max(1, at // 4)


@pytest.mark.parametrize("where", ["forward", "backward", "hook"])
@pytest.mark.parametrize("name", NAMES)
def test_a_failure_anywhere_leaves_everything_as_it_was(name, where):
    failed = 0
    for at in failures():
        fuse = Fuse(at, backward=where == "backward")
        model, inputs, target = marked(name, None if where == "hook" else fuse)
        if where == "hook":
            model.head.register_forward_hook(lambda *_, fuse=fuse: fuse.burn())
        before = everything(model, inputs)
        try:
            run(name, model, inputs, target)
        except Boom:
            failed += 1
            assert same(before, everything(model, inputs)) == (True, []), f"call {at} of {where}"
        else:
            assert same(before, everything(model, inputs)) == (True, [])
            break
    assert failed or where == "backward"  # each sends something through the model


@pytest.mark.parametrize("name", NAMES)
def test_the_error_of_the_model_reaches_the_caller(name):
    model, inputs, target = marked(name, Fuse(1))
    with pytest.raises(Boom, match="planted"):
        run(name, model, inputs, target)


def test_a_rule_of_lrp_that_changes_weights_gives_them_back():
    from captum.attr._utils.lrp_rules import GammaRule

    for at in range(1, 5):
        model, inputs, target = marked("lrp", Fuse(at))
        before = everything(model, inputs)
        with suppress(Boom):
            run("lrp", model, inputs, target, rules={model.conv: GammaRule()})
        assert same(before, everything(model, inputs)) == (True, [])


BAD_TARGETS = {
    "missing": None,
    "too large": 3,
    "negative": -1,
    "float": torch.tensor([0.0, 1.0]),
    "boolean": torch.tensor([True, False]),
    "of three examples": torch.tensor([0, 1, 2]),
    "a pair": (0, 1),
}


@pytest.mark.parametrize("bad", list(BAD_TARGETS))
@pytest.mark.parametrize("name", CONTRACT)
def test_a_target_that_is_none_is_refused(name, bad):
    model, inputs, _ = sample(name)
    with pytest.raises(InputError, match="target"):
        run(name, model, inputs, BAD_TARGETS[bad])


BAD_INPUTS = {
    "NaN": lambda x: torch.where(x > 2, torch.nan, x.clone().fill_(torch.nan)),
    "infinity": lambda x: x / 0,
    "an empty batch": lambda x: x[:0],
    "no batch": lambda x: x[0, 0, 0],
    "a list": lambda x: x.tolist(),
    "an array": lambda x: x.numpy(),
    "integers": lambda x: x.long(),
}


@pytest.mark.parametrize("bad", list(BAD_INPUTS))
@pytest.mark.parametrize("name", CONTRACT)
def test_inputs_that_cannot_be_explained_are_refused(name, bad):
    if bad == "integers" and name in READS_MAPS:
        pytest.skip("takes token ids without more ado: it does not differentiate")
    model, inputs, target = sample(name)
    with pytest.raises(InputError, match=r"expected: .*(inputs|integers|baseline|examples)"):
        run(name, model, BAD_INPUTS[bad](inputs), target)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_in_training_mode_is_refused(name):
    model, inputs, target = sample(name)
    with pytest.raises(InputError, match="evaluation mode"):
        run(name, model.train(), inputs, target)
    model.eval().norm = nn.Identity().train() if hasattr(model, "norm") else None
    if model.norm is not None:
        with pytest.raises(InputError, match="norm"):
            run(name, model, inputs, target)


@pytest.mark.parametrize("name", [name for name in CONTRACT if name not in ("tcav", *READS_MAPS)])
@pytest.mark.parametrize("shape", [(3,), (2, 2, 8, 8), (3, 1, 8, 8), (1, 1, 1, 1, 1)], ids=str)
def test_a_baseline_of_another_shape_is_refused(name, shape):
    model, inputs, target = sample(name)
    with pytest.raises(InputError, match="baseline"):
        METHODS[name](model, inputs, target, torch.zeros(shape), **arguments(name, model))


@pytest.mark.parametrize("name", CONTRACT)
def test_a_model_that_puts_out_no_number_is_refused(name):
    model, inputs, target = sample(name)
    with torch.no_grad():
        model.head.bias.fill_(torch.nan)
    with pytest.raises(InputError, match="finite"):
        run(name, model, inputs, target)


@pytest.mark.parametrize("name", CONTRACT)
def test_a_function_is_explained_or_refused(name):
    model, inputs, target = sample(name)
    given = arguments(name, model)
    if name in MODULE:
        with pytest.raises(InputError, match=r"nn\.Module"):
            METHODS[name](lambda x: model(x), inputs, target, **given)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = METHODS[name](lambda x: model(x), inputs, target, **given)
            again = METHODS[name](model, inputs, target, **given)
        if isinstance(found, Explanation):
            torch.testing.assert_close(found.values, again.values)


@pytest.mark.parametrize("name", CONTRACT)
@pytest.mark.parametrize("bad", [3, "model", None], ids=["number", "text", "nothing"])
def test_what_cannot_be_called_is_refused(name, bad):
    _, inputs, target = sample(name)
    with pytest.raises(InputError, match=r"forward|Module"):
        METHODS[name](bad, inputs, target, **arguments(name, Image()))


@pytest.mark.parametrize("name", CONTRACT)
def test_a_model_that_returns_no_tensor_is_refused(name):
    class Pair(Image):
        def forward(self, x):
            return super().forward(x), 0

    _, inputs, target = sample(name)
    model = Pair().eval()
    with pytest.raises(InputError, match="tensor"):
        run(name, model, inputs, target)


def test_the_lists_of_this_file_name_methods_that_exist():
    assert set(MODULE) <= set(METHODS)
    assert len(METHODS) >= 28
    assert set(DISCRETE) & set(METHODS)
