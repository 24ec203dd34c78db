"""The phones of TIMIT and how the field folds them: 61 that are transcribed, 48 to train with, 39 to score with.

Sources: Lee & Hon (1989), Speaker-independent phone recognition using hidden Markov models, IEEE TASSP 37,
doi 10.1109/29.46546, for both foldings; the symbols are those of Garofolo et al. (1993), LDC93S1.
"""

from collections.abc import Iterable

from bigmodel_lab.errors import DataError, InputError

__all__ = ["CLOSURES", "LEFT_OUT", "PHONES", "SILENCES", "TO_39", "TO_48", "fold"]

CLOSURES = ("bcl", "dcl", "gcl", "kcl", "pcl", "tcl")  # the silence before the burst of b, d, g, k, p, t
SILENCES = ("epi", "h#", "pau")  # between a fricative and what follows; at both ends; within the sentence
LEFT_OUT = "q"  # the glottal stop: in the transcriptions, but in neither folding

TO_48 = {  # what is not the same among the 48
    "ax-h": "ax",
    "axr": "er",
    "bcl": "vcl",
    "dcl": "vcl",
    "em": "m",
    "eng": "ng",
    "gcl": "vcl",
    "h#": "sil",
    "hv": "hh",
    "kcl": "cl",
    "nx": "n",
    "pau": "sil",
    "pcl": "cl",
    "tcl": "cl",
    "ux": "uw",
}
TO_39 = {  # of the 48: what a scorer does not tell apart
    "ao": "aa",
    "ax": "ah",
    "cl": "sil",
    "el": "l",
    "en": "n",
    "epi": "sil",
    "ix": "ih",
    "vcl": "sil",
    "zh": "sh",
}
_KINDS = {
    "vowels": "aa ae ah ao aw ax ax-h axr ay eh er ey ih ix iy ow oy uh uw ux",
    "semivowels": "el hh hv l r w y",
    "nasals": "em en eng m n ng nx",
    "fricatives": "dh f s sh th v z zh",
    "affricates": "ch jh",
    "bursts": "b d dx g k p q t",
    "closures": " ".join(CLOSURES),
    "silences": " ".join(SILENCES),
}
PHONES = tuple(sorted(" ".join(_KINDS.values()).split()))


def fold(phones: Iterable[str], to: int = 39) -> tuple[str, ...]:
    """Return the phones of a recording among the 39 (or 48, or 61) of the field; the glottal stop "q" is left out.

    Takes what `timit` gives in `phones`, without the places, and what a recogniser of 61 or 48 says. With `to=61`
    nothing changes. Neighbours that become the same are kept apart: "kcl pau" is "sil sil".
    Raises `InputError` if `to` is another number, `DataError` for a symbol that TIMIT does not have.
    """
    if to not in (39, 48, 61):
        raise InputError("39, 48 or 61 phones to fold to", got=repr(to), hint="39 is what papers report")
    if isinstance(phones, str):
        raise InputError("a sequence of phones", got=repr(phones)[:80], hint="phones.split()")
    kept = tuple(phones)
    if strange := [one for one in kept if one not in _KNOWN]:
        hint = "stress marks of TIMIT's dictionary, 1 and 2, are no phones; symbols are in small letters"
        raise DataError("phones of TIMIT", got=", ".join(map(repr, strange[:8])), hint=hint)
    if to == 61:
        return kept
    folded = tuple(TO_48.get(one, one) for one in kept if one != LEFT_OUT)
    return folded if to == 48 else tuple(TO_39.get(one, one) for one in folded)


_KNOWN = {*PHONES, *TO_48.values(), *TO_39.values()}
