"""`token_loss` is the mean over the tokens that have a target."""

from math import log

import pytest
import torch
import torch.nn.functional as F

from bigmodel_lab.errors import InputError
from bigmodel_lab.train import token_loss

LOGITS, TARGETS = torch.randn(3, 5, 7), torch.randint(0, 7, (3, 5))


def test_it_is_the_mean_over_tokens():
    expected = torch.stack([F.cross_entropy(LOGITS[i, j], TARGETS[i, j]) for i in range(3) for j in range(5)]).mean()
    torch.testing.assert_close(token_loss(LOGITS, TARGETS), expected)


def test_tokens_without_a_target_do_not_count():
    targets = TARGETS.clone()
    targets[0] = -100
    torch.testing.assert_close(token_loss(LOGITS, targets), token_loss(LOGITS[1:], TARGETS[1:]))


def test_without_any_target_it_is_zero_and_so_is_its_gradient():
    logits = LOGITS.clone().requires_grad_()
    loss = token_loss(logits, torch.full_like(TARGETS, -100))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("shape", [(3, 7, 5), (15, 7)])
def test_other_shapes_are_an_error(shape):
    with pytest.raises(InputError, match=r"logits \(B, T, V\)"):
        token_loss(torch.zeros(shape), TARGETS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.bool])
def test_targets_of_another_type_are_an_error(dtype):
    with pytest.raises(InputError, match=f"(?s)int64.*{dtype}"):
        token_loss(LOGITS, TARGETS.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_many_tokens_in_half_precision_do_not_overflow(dtype):
    loss = token_loss(torch.zeros(8, 2048, 512, dtype=dtype), torch.zeros(8, 2048, dtype=torch.int64))
    assert loss.item() == pytest.approx(log(512), rel=1e-3)
