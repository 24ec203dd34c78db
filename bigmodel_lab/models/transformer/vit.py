"""Vision Transformer: the encoder's blocks on patches of an image.

Source: Dosovitskiy et al. (2021), arXiv 2010.11929; the mean over patches in place of a class token: Zhai et al.
(2022), arXiv 2106.04560. Dimension letters: B batch, C channels, H height, W width, T patches, K outputs.
"""

from torch import Tensor, nn

from bigmodel_lab.models.transformer import checks
from bigmodel_lab.models.transformer.blocks import Positions, Stack, draw_weights
from bigmodel_lab.models.transformer.config import ViTConfig


class ViT(nn.Module):
    """Images (B, C, H, W) -> patches -> blocks -> mean over patches -> outputs (B, K)."""

    def __init__(self, config: ViTConfig | None = None) -> None:
        """Build the model; weights are drawn from PyTorch's global generator."""
        super().__init__()
        self.config = config = ViTConfig() if config is None else config
        self.patches = nn.Conv2d(config.channels, config.width, config.patch, stride=config.patch)
        self.positions, self.dropout = Positions(config, config.patches), nn.Dropout(config.dropout)
        self.stack, self.head = Stack(config), nn.Linear(config.width, config.outputs)
        draw_weights(self, config)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to outputs (B, K); patches are taken row by row, from the top left."""
        x = self.patches(checks.images(x, self.config.channels, self.config.size))  # (B, width, H / patch, W / patch)
        x = x.flatten(2).transpose(1, 2)  # -> (B, T, width)
        return self.head(self.stack(self.dropout(self.positions(x))).mean(1))  # -> (B, width) -> (B, K)
