"""The exceptions that the library raises: each says what was expected, what came, and what to try."""

__all__ = [
    "CheckpointError",
    "DataError",
    "ExerciseError",
    "InputError",
    "LabError",
    "MissingExtraError",
    "TrainingError",
]


class LabError(Exception):
    """Base of every error that this library raises on purpose.

    Give it three sentences: what was `expected`, what was `got`, and what to `hint`.
    """

    def __init__(self, expected: str, *, got: str = "", hint: str = "") -> None:
        """Keep the three parts and join them into one message, one part a line."""
        parts = [f"expected: {expected}", got and f"got:      {got}", hint and f"try:      {hint}"]
        super().__init__("\n" + "\n".join(part for part in parts if part))
        self.expected, self.got, self.hint = expected, got, hint


class InputError(LabError, ValueError):
    """An argument has the wrong value, shape or type."""


class DataError(LabError):
    """A data set is missing, truncated, or not laid out as its source lays it out."""


class TrainingError(LabError, RuntimeError):
    """Training cannot go on: the loss is not finite, the data is empty, or shapes do not fit."""


class CheckpointError(LabError):
    """A checkpoint file is missing, truncated, foreign, or belongs to another run."""


class ExerciseError(LabError, AssertionError):
    """An answer to an exercise is not right yet."""


class MissingExtraError(LabError, ImportError):
    """An optional package is not installed; the message names the pip command that installs it."""
