"""A dual encoder: images and texts as points of one space, trained so that what belongs together lies together.

Sources: Radford et al. (2021), CLIP, arXiv 2103.00020; van den Oord et al. (2018), arXiv 1807.03748 (the loss);
Yuksekgonul et al. (2023), arXiv 2210.01936 (captions that are wrong on purpose, as extra negatives).
Dimension letters: B batch, C channels, H height, W width, R texts per image, T words, D numbers in an embedding.
"""

from dataclasses import dataclass
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.cnn import convolution
from bigmodel_lab.models.rnn import RNNConfig, SequenceClassifier
from bigmodel_lab.models.transformer import TextClassifier, TransformerConfig

__all__ = ["BagOfWords", "ContrastiveConfig", "DualEncoder", "ImageEncoder", "contrastive_loss", "pack"]

TEXTS = ("transformer", "gru", "bag")


@dataclass(frozen=True, kw_only=True)
class ContrastiveConfig:
    """Sizes of a dual encoder. Word id 0 is padding."""

    vocabulary: int  # V, word ids are 0 to V - 1
    length: int = 13  # T, words of a text, padding included
    channels: int = 3  # C of the input images
    size: int = 32  # H and W of the input images, in pixels
    widths: tuple[int, ...] = (16, 32, 64)  # channels of each stage of the image encoder; each stage halves H and W
    hidden: int = 256  # features of an image between the two linear layers behind the last stage
    text: str = "transformer"  # the text encoder: "transformer", "gru", or "bag" (no order of words)
    text_width: int = 64  # features per word
    depth: int = 2  # blocks of the Transformer
    heads: int = 4  # of each block
    dimension: int = 64  # D, numbers in an embedding
    scale: float = 1 / 0.07  # of the similarities, at the start; it is learnt (CLIP's "temperature" is its inverse)
    largest: float = 100.0  # the scale goes no higher

    def __post_init__(self) -> None:
        """Refuse sizes that make no encoder."""
        sizes = (self.length, self.channels, *self.widths, self.text_width, self.depth, self.heads, self.dimension)
        if min(sizes) < 1 or self.vocabulary < 2 or not self.widths or self.text_width % max(self.heads, 1):
            raise InputError("sizes >= 1, vocabulary >= 2, text_width a multiple of heads", got=repr(self))
        if self.size % 2 ** len(self.widths):
            raise InputError(f"a size that can be halved {len(self.widths)} times", got=f"size={self.size}")
        if self.text not in TEXTS:
            raise InputError(f"a text encoder among {', '.join(TEXTS)}", got=repr(self.text))
        if not 0 < self.scale <= self.largest:
            raise InputError("0 < scale <= largest", got=f"scale={self.scale}, largest={self.largest}")


class ImageEncoder(nn.Module):
    """Convolutions of stride 2, then one linear map of all places: images (B, C, H, W) -> (B, D).

    No mean over the places, as in `cnn.CNN`: what stands left of what would be lost in it.
    """

    def __init__(self, config: ContrastiveConfig) -> None:
        """Build the stages; weights are drawn from PyTorch's global generator."""
        super().__init__()
        self.shape = (config.channels, config.size, config.size)
        sizes = (config.channels, *config.widths)
        stages = [
            nn.Sequential(convolution(narrow, wide, stride=2), nn.ReLU())
            for narrow, wide in zip(sizes, config.widths, strict=False)
        ]
        self.stages = nn.Sequential(*stages)
        side = config.size // 2 ** len(config.widths)
        self.mix, self.relu = nn.Linear(sizes[-1] * side**2, config.hidden), nn.ReLU()
        self.head = nn.Linear(config.hidden, config.dimension)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to points (B, D) of any length."""
        if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1:] != self.shape:
            got = f"shape {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
            raise InputError(f"images (B, {', '.join(map(str, self.shape))})", got=got, hint="images[None] for one")
        return self.head(self.relu(self.mix(self.stages(images).flatten(1))))  # (B, C', H', W') -> (B, C' H' W')


class BagOfWords(nn.Module):
    """The mean of the words' embeddings, then one linear map: ids (B, T) -> (B, D), the same for any order of words."""

    def __init__(self, config: ContrastiveConfig) -> None:
        """Build embedding and linear map; weights are drawn from PyTorch's global generator."""
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary, config.text_width, padding_idx=0)
        self.head = nn.Linear(config.text_width, config.dimension)

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (B, T) to points (B, D)."""
        count = (ids != 0).sum(1, keepdim=True).clamp(min=1)  # (B, 1)
        return self.head(self.embedding(ids).sum(1) / count)


class DualEncoder(nn.Module):
    """An image encoder and a text encoder that end in the same D numbers, and a learnt scale.

    `embed_images` and `embed_texts` give unit vectors, so that products are cosines. `forward` is for training: it
    takes images and texts in one tensor, see `pack`.
    """

    def __init__(self, config: ContrastiveConfig) -> None:
        """Build both encoders; weights are drawn from PyTorch's global generator."""
        super().__init__()
        self.config = config
        self.images = ImageEncoder(config)
        if config.text == "bag":
            self.texts = BagOfWords(config)
        elif config.text == "gru":
            words = {"vocabulary": config.vocabulary, "padding": 0, "outputs": config.dimension}
            self.texts = SequenceClassifier(RNNConfig(kind="gru", width=config.text_width, **words))
        else:
            blocks = {"width": config.text_width, "depth": config.depth, "heads": config.heads}
            words = {"vocabulary": config.vocabulary, "context": config.length, "outputs": config.dimension}
            self.texts = TextClassifier(TransformerConfig(**blocks, **words))
        self.log_scale = nn.Parameter(torch.tensor(log(config.scale)))

    @property
    def scale(self) -> Tensor:
        """The factor on the cosines, (), at most `config.largest`; beyond it the gradient is 0."""
        return self.log_scale.clamp(max=log(self.config.largest)).exp()

    def embed_images(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to unit vectors (B, D)."""
        return F.normalize(self.images(images), dim=-1)

    def embed_texts(self, ids: Tensor) -> Tensor:
        """Map word ids (B, T) to unit vectors (B, D)."""
        if not isinstance(ids, Tensor) or ids.ndim != 2 or ids.dtype != torch.int64:
            got = f"{ids.dtype} of shape {tuple(ids.shape)}" if isinstance(ids, Tensor) else type(ids).__name__
            raise InputError("word ids, int64 of shape (B, T)", got=got, hint="Vocabulary.encode makes them")
        return F.normalize(self.texts(ids), dim=-1)

    def forward(self, packed: Tensor) -> Tensor:
        """Map `pack`ed images with R texts each to (B, 1 + R, D): the image's vector, then its texts'.

        Each is a unit vector times the root of the scale, so that products are scaled cosines.
        """
        pixels = self.config.channels * self.config.size**2
        count, rest = divmod(packed.shape[-1] - pixels, self.config.length)
        if packed.ndim != 2 or count < 1 or rest:
            expected = f"packed (B, {pixels} + R * {self.config.length}), R at least 1"
            raise InputError(expected, got=f"shape {tuple(packed.shape)}", hint="pack(images, ids)")
        images = self.embed_images(packed[:, :pixels].unflatten(1, self.images.shape))
        ids = packed[:, pixels:].reshape(-1, self.config.length).long()  # (B, R T) -> (B R, T)
        texts = self.embed_texts(ids).view(len(packed), count, -1)
        return self.scale.sqrt() * torch.cat([images[:, None], texts], dim=1)


def pack(images: Tensor, ids: Tensor) -> Tensor:
    """Return images (N, C, H, W) and word ids (N, T) or (N, R, T) as one tensor, (N, C H W + R T) float32.

    `train.Batches` takes one tensor of inputs. Ids below 2²⁴ survive as float32.
    """
    if images.ndim != 4 or ids.ndim not in (2, 3) or len(images) != len(ids) or ids.is_floating_point():
        got = f"{tuple(images.shape)} and {ids.dtype} {tuple(ids.shape)}"
        raise InputError("images (N, C, H, W) and as many ids, integers (N, T) or (N, R, T)", got=got)
    return torch.cat([images.flatten(1).float(), ids.flatten(1).float()], dim=1)


def contrastive_loss(
    images: Tensor,
    texts: Tensor,
    scale: Tensor | float = 1.0,
    *,
    same: Tensor | None = None,
    wrong: Tensor | None = None,
) -> Tensor:
    r"""Return the symmetric InfoNCE loss in nats, (): each image finds its text among B, and each text its image.

    $-\frac{1}{2B} \sum_i \ln \frac{e^{s\,x_i \cdot t_i}}{\sum_j e^{s\,x_i \cdot t_j}}
    + \ln \frac{e^{s\,x_i \cdot t_i}}{\sum_j e^{s\,x_j \cdot t_i}}$ (van den Oord et al. 2018; Radford et al. 2021),
    with images x and texts t, unit vectors (B, D), and `scale` s. Without knowledge it is ln B.

    - `same` (B,) int64: texts with equal numbers say the same, and do not count as wrong answers for each other.
    - `wrong` (B, D): texts that are wrong on purpose, more wrong answers for all images (Yuksekgonul et al. 2023).

    Raises `InputError` for other shapes, and for a batch of one, which leaves nothing to choose from.
    """
    fits = images.ndim == 2 and images.shape == texts.shape and len(images) > 1
    if not fits or (wrong is not None and (wrong.ndim != 2 or wrong.shape[1] != images.shape[1])):
        shapes = [tuple(part.shape) for part in (images, texts, wrong) if part is not None]
        hint = "drop_last=True, where the last batch has one example"
        raise InputError("images and texts (B, D), B at least 2, wrong (M, D)", got=f"shapes {shapes}", hint=hint)
    logits = scale * images @ texts.T  # (B, B), a row per image
    if same is not None:
        if same.shape != images.shape[:1]:
            raise InputError(f"same of shape ({len(images)},)", got=f"shape {tuple(same.shape)}")
        twins = (same[:, None] == same) & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
        logits = logits.masked_fill(twins, -torch.inf)
    across = logits if wrong is None else torch.cat([logits, scale * images @ wrong.T], dim=1)  # (B, B + M)
    own = torch.arange(len(images), device=images.device)
    return (F.cross_entropy(across, own) + F.cross_entropy(logits.T, own)) / 2
