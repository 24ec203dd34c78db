"""The listing's CNN in JAX, as a program of its own: reads arrays, computes on one core, writes arrays.

    python jax_twin.py TASK[,TASK] IN.npz OUT.npz

JAX has functions of arrays and no layers, so each layer is written out, in PyTorch's layout: no weight is turned.
It needs NumPy and JAX and `twin_program.py` beside it; `bigmodel_lab.models.twins` runs it.
Dimension letters: B batch, C channels, H height, W width, K classes.
"""

import os
import time

import numpy as np
from twin_program import main, timed  # beside this file

os.environ |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
if hasattr(os, "sched_setaffinity"):  # one core, as all that are compared
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
begun = time.process_time()
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax import lax  # noqa: E402

IMPORT_SECONDS = time.process_time() - begun


def convolve(x, kernel, bias):
    """Convolve (B, C, H, W) with a kernel (O, I, 3, 3), zeros around; add the bias (O,)."""
    layout = ("NCHW", "OIHW", "NCHW")
    y = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)
    return y + bias[:, None, None]


def pool(x):
    """Return the maximum of each 2×2 block of (B, C, H, W)."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def forward(weights, x):
    """Map images (B, 3, 32, 32) to logits (B, 10)."""
    k1, b1, k2, b2, m1, c1, m2, c2 = weights
    x = pool(jax.nn.relu(convolve(x, k1, b1)))
    x = pool(jax.nn.relu(convolve(x, k2, b2)))
    x = jax.nn.relu(x.reshape(len(x), -1) @ m1.T + c1)  # (B, 64, 8, 8) -> (B, 4096)
    return x @ m2.T + c2


def loss_of(weights, images, labels):
    """Return the mean cross-entropy."""
    log_p = jax.nn.log_softmax(forward(weights, images))
    return -jnp.take_along_axis(log_p, labels[:, None], 1).mean()


def step(weights, images, labels, rate):
    """Return the weights after one step of SGD, the loss before it, and the gradients."""
    loss, gradients = jax.value_and_grad(loss_of)(weights, images, labels)
    new = [w - rate * g for w, g in zip(weights, gradients, strict=True)]
    return new, loss, gradients


def loaded(given: dict) -> list:
    """Return the weights w0, w1, … of `given`."""
    return [jnp.asarray(given[f"w{n}"]) for n in range(8)]


def follow(given: dict) -> dict:
    """Logits, gradients of the first step, weights after it, and the loss before each of `steps` steps of SGD."""
    weights, images, labels = loaded(given), jnp.asarray(given["images"]), jnp.asarray(given["labels"])
    result, losses, compiled = {"logits": np.asarray(jax.jit(forward)(weights, images))}, [], jax.jit(step)
    for number in range(int(given["steps"])):
        weights, loss, gradients = compiled(weights, images, labels, float(given["rate"]))
        losses.append(float(loss))
        if number == 0:
            result |= {f"gradient{n}": np.asarray(g) for n, g in enumerate(gradients)}
            result |= {f"after{n}": np.asarray(w) for n, w in enumerate(weights)}
    return result | {"losses": np.array(losses), "import_seconds": np.array(IMPORT_SECONDS)}


def speed(given: dict) -> dict:
    """CPU-seconds a step of training, `repeats` times `steps` of them, operation by operation and under `jit`.

    The first call is apart: it is where a function is traced and compiled.
    """
    images, labels, result = jnp.asarray(given["images"]), jnp.asarray(given["labels"]), {}
    for mode, function in {"eager": step, "jit": jax.jit(step)}.items():
        state = {"weights": loaded(given)}

        def call(function=function, state=state):
            state["weights"], loss, _ = function(state["weights"], images, labels, float(given["rate"]))
            return loss

        result |= timed(call, mode, given)
    return result


TASKS = (follow, speed)

if __name__ == "__main__":
    main(TASKS, {"version": jax.__version__})
