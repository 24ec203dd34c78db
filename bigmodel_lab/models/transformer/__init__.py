"""Transformers from one kind of block: encoder, classifier, decoder (GPT), encoder-decoder, and ViT for images.

Sources: Vaswani et al. (2017), arXiv 1706.03762; Radford et al. (2019), GPT-2; Xiong et al. (2020), arXiv 2002.04745
(where the norm goes); Dosovitskiy et al. (2021), arXiv 2010.11929 (ViT). Layout of the code after nanoGPT.
"""

from bigmodel_lab.models.transformer.blocks import Block
from bigmodel_lab.models.transformer.config import BlockConfig, TransformerConfig, ViTConfig
from bigmodel_lab.models.transformer.decoder import Decoder
from bigmodel_lab.models.transformer.encoder import Encoder, TextClassifier
from bigmodel_lab.models.transformer.encoder_decoder import EncoderDecoder, teacher_forcing
from bigmodel_lab.models.transformer.generation import generate, translate
from bigmodel_lab.models.transformer.vit import ViT

__all__ = [
    "Block",
    "BlockConfig",
    "Decoder",
    "Encoder",
    "EncoderDecoder",
    "TextClassifier",
    "TransformerConfig",
    "ViT",
    "ViTConfig",
    "generate",
    "teacher_forcing",
    "translate",
]
