"""`unchanged` puts a model back as it was: after success and after failure, whatever was hung onto it."""

import pytest
import torch
from torch import nn

from bigmodel_lab.explain.contract.restore import unchanged


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout())
        self.head = nn.Linear(4, 2)
        self.options = {"a": 1}
        self.again = self.options  # the same dictionary by another name
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.head(self.body(x))


def model():
    torch.manual_seed(0)
    made = Small().eval()
    made.body[0].weight.requires_grad_(False)
    made.body[3].train()  # modes may differ
    made.head(torch.randn(5, 4)).sum().backward()
    made.body[2].register_forward_hook(lambda *_: None)
    made.head.register_full_backward_hook(lambda *_: None)
    return made


def state(made):
    """All that may change, with the identity of what must stay the same object."""
    found = {}
    for path, module in made.named_modules():
        for name, value in vars(module).items():
            inside = tuple(value.items()) if isinstance(value, dict) else None
            found[path, name] = (id(value) if isinstance(value, dict) else value, inside)
    for name, p in made.named_parameters():
        found["flag", name] = (p.requires_grad, id(p.grad), None if p.grad is None else p.grad.tolist(), p.tolist())
    return found


def hang(made):
    made.body[0].register_forward_hook(lambda *_: None)
    made.body[2].register_forward_pre_hook(lambda *_: None)
    made.head.register_full_backward_pre_hook(lambda *_: None)
    made.register_state_dict_post_hook(lambda *_: None)


def rules(made):
    made.body[0].rule, made.body[0].activations, made.head.input = object(), {}, torch.ones(2)
    del made.calls


def modes(made):
    made.train()
    made.body[1].eval()


def flags(made):
    for p in made.parameters():
        p.requires_grad_(not p.requires_grad)


def gradients(made):
    made.head.weight.grad.zero_()
    made.head.bias.grad = None
    made.body[1].weight.grad = torch.ones(4)


def attributes(made):
    made.options["a"] = 2
    made.again["b"] = 3
    made.calls = 7
    made.options = {}


def parts(made):
    made.head = nn.Identity()
    made.body.add_module("more", nn.ReLU())
    made.register_buffer("extra", torch.ones(2))


def unhook(made):
    made.body[2]._forward_hooks.clear()
    made.head._backward_hooks.clear()


CHANGES = (hang, rules, modes, flags, gradients, attributes, parts, unhook)


@pytest.mark.parametrize("fails", [False, True], ids=["success", "failure"])
@pytest.mark.parametrize("change", CHANGES, ids=[change.__name__ for change in CHANGES])
def test_what_was_changed_is_put_back(change, fails):
    made = model()
    before = state(made)
    try:
        with unchanged(made):
            change(made)
            assert state(made) != before  # it was a change
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert state(made) == before
    assert made.options is made.again


def test_the_error_comes_through_as_it_was():
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught, unchanged(model()):
        raise error
    assert caught.value is error


def test_handles_made_before_still_take_their_hooks_off():
    made = model()
    handle = made.head.register_forward_hook(lambda *_: None)
    with unchanged(made):
        made.head.register_forward_hook(lambda *_: None)
    assert len(made.head._forward_hooks) == 1
    handle.remove()
    assert not made.head._forward_hooks


def test_handles_made_inside_can_be_removed_later():
    made = model()
    with unchanged(made):
        handle = made.head.register_forward_hook(lambda *_: None)
    handle.remove()
    assert not made.head._forward_hooks


def test_blocks_may_be_nested():
    made = model()
    before = state(made)
    with unchanged(made):
        hang(made)
        between = state(made)
        with unchanged(made):
            rules(made)
            modes(made)
        assert state(made) == between
    assert state(made) == before


def test_a_shared_module_is_put_back_too():
    relu = nn.ReLU()
    made = nn.Sequential(nn.Linear(2, 2), relu, nn.Linear(2, 2), relu)
    with unchanged(made):
        relu.register_forward_hook(lambda *_: None)
        relu.rule = 1
    assert not relu._forward_hooks
    assert not hasattr(relu, "rule")


def test_weights_made_in_inference_mode_are_no_obstacle():
    with torch.inference_mode():
        made = nn.Linear(2, 2)
    with unchanged(made):
        made.rule = 1
    assert not hasattr(made, "rule")


def test_functions_pass_through():
    with unchanged(torch.relu):
        assert torch.relu(torch.tensor(-1.0)) == 0
