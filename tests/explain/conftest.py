"""Small models of every kind, made once a session."""

import pytest

from tests.explain.toys import KINDS, Sample, sample


@pytest.fixture(scope="session")
def samples() -> dict[str, Sample]:
    """One sample of each kind in `toys.KINDS`."""
    return {kind: sample(kind) for kind in KINDS}
