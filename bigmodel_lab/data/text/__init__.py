"""Text: a corpus that every machine already has, tokenisers, tasks made from it, and public sets."""

from bigmodel_lab.data.text.corpus import Corpus, Document, Origin, corpus
from bigmodel_lab.data.text.entities import EntitySet, entities
from bigmodel_lab.data.text.entity_sets import conll2003
from bigmodel_lab.data.text.public import glue, wikitext
from bigmodel_lab.data.text.sets import TextSet
from bigmodel_lab.data.text.summaries import SummarySet, summaries
from bigmodel_lab.data.text.summary_sets import cnn_dailymail
from bigmodel_lab.data.text.tasks import blocks, masking, next_token, plain, which_library
from bigmodel_lab.data.text.tokens import bpe, byte_level, characters, encode
from bigmodel_lab.data.text.translation_sets import opus, wmt

__all__ = [
    "Corpus",
    "Document",
    "EntitySet",
    "Origin",
    "SummarySet",
    "TextSet",
    "blocks",
    "bpe",
    "byte_level",
    "characters",
    "cnn_dailymail",
    "conll2003",
    "corpus",
    "encode",
    "entities",
    "glue",
    "masking",
    "next_token",
    "opus",
    "plain",
    "summaries",
    "which_library",
    "wikitext",
    "wmt",
]
