"""For every test: no display, no network in this process, and one thread a worker where several share the cores."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.notebooks.guard import sitecustomize as _only_loopback  # noqa: F401  (loading it is its effect)
