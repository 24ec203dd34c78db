"""Memory layout of images: with the channel as the fastest index, convolutions on a CPU run up to 1.6 times as fast.

Source: PyTorch tutorial "Channels Last Memory Format". Values and shapes are the same, only strides differ. Inputs in
that layout are enough, activations follow them; so the model's weights are left alone.
"""

import torch
from torch import Tensor, nn

from bigmodel_lab.train.evaluation import mode
from bigmodel_lab.train.generators import restore_generators, save_generators


def likes_channels_last(model: nn.Module, inputs: Tensor) -> bool:
    """Return whether `model` convolves images and gives the same outputs for `inputs` (B, C, H, W) in that layout.

    Tried on a few examples in evaluation mode, because a model may call `.view` on activations, which only works in
    the usual layout. Nothing is changed: not the mode, the random generators, the buffers, or `inputs`.
    """
    if inputs.ndim != 4 or inputs.device.type == "mps" or not any(isinstance(m, nn.Conv2d) for m in model.modules()):
        return False
    generators, buffers = save_generators(), [buffer.clone() for buffer in model.buffers()]
    try:
        with torch.no_grad(), mode(model, training=False):
            usual, other = model(inputs.clone()), model(inputs.clone(memory_format=torch.channels_last))
        scale = usual.abs().max().item()
        return torch.allclose(usual, other, rtol=1e-2, atol=1e-2 * scale, equal_nan=True)
    except Exception:  # the training step says what is wrong, if it is wrong there too
        return False
    finally:
        restore_generators(generators)
        with torch.no_grad():
            for buffer, value in zip(model.buffers(), buffers, strict=True):
                buffer.copy_(value)
