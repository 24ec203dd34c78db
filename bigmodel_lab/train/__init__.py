"""Training: batches from memory, one loop for CPU and GPUs, exact resume, evaluation, metrics, schedules."""

from bigmodel_lab.train.batches import Batches
from bigmodel_lab.train.checkpoint import Checkpoint, load_model, save_model
from bigmodel_lab.train.evaluation import evaluate, predict
from bigmodel_lab.train.history import History
from bigmodel_lab.train.loop import fit
from bigmodel_lab.train.losses import token_loss
from bigmodel_lab.train.metrics import absolute_error, accuracy, r2_score, squared_error
from bigmodel_lab.train.schedules import constant, linear_decay, warmup_cosine

__all__ = [
    "Batches",
    "Checkpoint",
    "History",
    "absolute_error",
    "accuracy",
    "constant",
    "evaluate",
    "fit",
    "linear_decay",
    "load_model",
    "predict",
    "r2_score",
    "save_model",
    "squared_error",
    "token_loss",
    "warmup_cosine",
]
