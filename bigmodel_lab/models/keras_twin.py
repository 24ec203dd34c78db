"""The listing's CNN in Keras on TensorFlow, as a program of its own: reads arrays, computes on one core, writes arrays.

    python keras_twin.py TASK[,TASK] IN.npz OUT.npz

It needs NumPy and TensorFlow and `twin_program.py` beside it; `bigmodel_lab.models.twins` runs it.
Dimension letters: B batch, H height, W width, C channels, K classes.
"""

import os
import time

import numpy as np
from twin_program import main, timed  # beside this file

os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
if hasattr(os, "sched_setaffinity"):  # one core, as all that are compared
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
begun = time.process_time()
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

IMPORT_SECONDS = time.process_time() - begun


def build() -> keras.Model:
    """Return the network: images (B, 32, 32, 3), channels last, to logits (B, 10)."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10),
        ]
    )


def step(model: keras.Model, optimizer, images, labels) -> tuple:
    """Take one step of training; return the loss before it and the gradients."""
    with tf.GradientTape() as tape:
        loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        loss = loss_of(labels, model(images, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply(gradients, model.trainable_variables)
    return loss, gradients


def loaded(given: dict) -> keras.Model:
    """Return the network with the weights w0, w1, … of `given`."""
    model = build()
    model.set_weights([given[f"w{n}"] for n in range(len(model.weights))])
    return model


def follow(given: dict) -> dict:
    """Logits, gradients of the first step, weights after it, and the loss before each of `steps` steps of SGD."""
    model, images, labels = loaded(given), tf.constant(given["images"]), tf.constant(given["labels"])
    result = {"logits": model(images).numpy()}
    optimizer = keras.optimizers.SGD(float(given["rate"]))
    compiled = tf.function(lambda: step(model, optimizer, images, labels))
    losses = []
    for number in range(int(given["steps"])):
        loss, gradients = compiled()
        losses.append(float(loss))
        if number == 0:
            result |= {f"gradient{n}": g.numpy() for n, g in enumerate(gradients)}
            result |= {f"after{n}": w for n, w in enumerate(model.get_weights())}
    return result | {"losses": np.array(losses), "import_seconds": np.array(IMPORT_SECONDS)}


def outputs(given: dict) -> dict:
    """Logits alone, of the weights as they are given."""
    return {"outputs": loaded(given)(tf.constant(given["images"])).numpy()}


def defaults(given: dict) -> dict:
    """What layers, losses and optimisers do when they are told nothing: one small measurement each.

    Reads `row` (N, 1), a batch to normalise; `picture` (1, H, W, 1) and `kernel` (3, 3, 1, 1); `slope` and `gradient`
    (3,); `scores` (B, K) and `labels` (B,) of a loss.
    """
    layers, row = keras.layers, given["row"]
    strided = layers.Conv2D(1, 3, strides=2, padding="same", use_bias=False)
    padded = keras.Sequential([layers.ZeroPadding2D(1), layers.Conv2D(1, 3, strides=2, use_bias=False)])
    result = {}
    for name, layer in {"same": strided, "padded": padded}.items():
        layer.build(given["picture"].shape)
        layer.set_weights([given["kernel"]])
        result[name] = layer(given["picture"]).numpy()[..., 0]
    norm = layers.BatchNormalization()
    result["normalised"] = norm(row, training=True).numpy()
    result["running_mean"], result["running_var"] = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    result["layer_normalised"] = layers.LayerNormalization()(row.T).numpy()
    result["leaky"] = layers.LeakyReLU()(given["slope"]).numpy()
    weight = tf.Variable(np.zeros(len(given["slope"]), np.float32))
    keras.optimizers.Adam(1.0).apply([tf.constant(given["gradient"])], [weight])
    result["adam"] = weight.numpy()
    keras.utils.set_random_seed(int(given["seed"]))
    dense = layers.Dense(128)
    dense.build((None, 4096))
    result["drawn"], result["drawn_bias"] = (w.numpy() for w in dense.weights)
    for name, options in {"loss": {}, "loss_from_logits": {"from_logits": True}}.items():
        loss_of = keras.losses.SparseCategoricalCrossentropy(**options)
        result[name] = loss_of(given["labels"], given["scores"]).numpy()
    return result


def speed(given: dict) -> dict:
    """CPU-seconds a step of training, `repeats` times `steps` of them, eager, as a graph, and compiled by XLA.

    The first call is apart: it is where a graph is traced and compiled.
    """
    images, labels, result = tf.constant(given["images"]), tf.constant(given["labels"]), {}
    for mode in ("eager", "graph", "xla"):
        model, optimizer = loaded(given), keras.optimizers.SGD(float(given["rate"]))
        optimizer.build(model.trainable_variables)

        def one(model=model, optimizer=optimizer):
            return step(model, optimizer, images, labels)[0]

        call = one if mode == "eager" else tf.function(one, jit_compile=mode == "xla")
        result |= timed(call, mode, given)
    return result


def applications(given: dict) -> dict:
    """Parameters of three published architectures as `keras.applications` builds them, weights drawn at random."""
    names = ("ResNet50", "InceptionV3", "MobileNetV2")
    return {name: np.array(getattr(keras.applications, name)(weights=None).count_params()) for name in names}


TASKS = (follow, outputs, defaults, speed, applications)

if __name__ == "__main__":
    main(TASKS, {"version": tf.__version__, "keras_version": keras.__version__})
