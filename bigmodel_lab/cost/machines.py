"""Accelerators as their makers' data sheets describe them. The only place where these numbers are written.

`peak` counts products of dense matrices in 16 bits (float16 or bfloat16) with 32-bit sums, without sparsity: data
sheets that state the figure "with sparsity" are halved.
"""

from dataclasses import dataclass

from bigmodel_lab.errors import InputError

__all__ = ["GPUS", "Gpu", "gpu"]


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One accelerator."""

    title: str
    peak: float  # operations a second (FLOP/s), 16 bits, dense
    memory: float  # bytes
    bandwidth: float  # bytes a second between memory and chip
    watts: float  # the most that the board draws by design (TPU v4: the most that was measured)
    source: str


GPUS = {
    "v100": Gpu(
        title="NVIDIA V100 SXM2 32 GB",
        peak=125e12,
        memory=32e9,
        bandwidth=900e9,
        watts=300,
        source="https://images.nvidia.com/content/technologies/volta/pdf/volta-v100-datasheet-update-us-1165301-r5.pdf",
    ),
    "a100": Gpu(
        title="NVIDIA A100 SXM 80 GB",
        peak=312e12,
        memory=80e9,
        bandwidth=2039e9,
        watts=400,
        source="https://www.nvidia.com/en-us/data-center/a100/",
    ),
    "h100": Gpu(
        title="NVIDIA H100 SXM 80 GB",
        peak=989e12,
        memory=80e9,
        bandwidth=3350e9,
        watts=700,
        source="https://www.nvidia.com/en-us/data-center/h100/",
    ),
    "h800": Gpu(  # an H100 with slower links to its neighbours, and 64-bit arithmetic cut
        title="NVIDIA H800 SXM 80 GB",
        peak=989e12,
        memory=80e9,
        bandwidth=3350e9,
        watts=700,
        source="https://arxiv.org/abs/2412.19437",
    ),
    "h200": Gpu(
        title="NVIDIA H200 SXM 141 GB",
        peak=989e12,
        memory=141e9,
        bandwidth=4800e9,
        watts=700,
        source="https://www.nvidia.com/en-us/data-center/h200/",
    ),
    "b200": Gpu(
        title="NVIDIA B200 180 GB",
        peak=2250e12,
        memory=180e9,
        bandwidth=7700e9,
        watts=1000,
        source="https://www.nvidia.com/en-us/data-center/hgx/",
    ),
    "mi300x": Gpu(
        title="AMD MI300X 192 GB",
        peak=1307e12,
        memory=192e9,
        bandwidth=5300e9,
        watts=750,
        source="https://www.amd.com/en/products/accelerators/instinct/mi300/mi300x.html",
    ),
    "tpu-v4": Gpu(
        title="Google TPU v4 32 GB",
        peak=275e12,
        memory=32e9,
        bandwidth=1200e9,
        watts=192,
        source="https://arxiv.org/abs/2304.01433",
    ),
}


def gpu(name: str) -> Gpu:
    """Return the accelerator called `name`, one of `GPUS`."""
    if name not in GPUS:
        raise InputError(f"a name among {', '.join(GPUS)}", got=repr(name))
    return GPUS[name]
