"""Small models of every kind, made once a session."""

import os

import pytest

os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # shap compiles for seconds what the few numbers here do not need

from tests.explain.toys import KINDS, Sample, sample


@pytest.fixture(scope="session")
def samples() -> dict[str, Sample]:
    """One sample of each kind in `toys.KINDS`."""
    return {kind: sample(kind) for kind in KINDS}
