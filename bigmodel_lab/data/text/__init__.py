"""Text: a corpus that every machine already has, tokenisers, tasks made from it, and public sets."""

from bigmodel_lab.data.text.corpus import Corpus, Document, Origin, corpus
from bigmodel_lab.data.text.public import glue, wikitext
from bigmodel_lab.data.text.sets import TextSet
from bigmodel_lab.data.text.tasks import blocks, masking, next_token, plain, which_library
from bigmodel_lab.data.text.tokens import bpe, byte_level, characters, encode

__all__ = [
    "Corpus",
    "Document",
    "Origin",
    "TextSet",
    "blocks",
    "bpe",
    "byte_level",
    "characters",
    "corpus",
    "encode",
    "glue",
    "masking",
    "next_token",
    "plain",
    "which_library",
    "wikitext",
]
