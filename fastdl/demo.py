"""The main job: a small convolutional network learns handwritten digits, and shows how well and how fast."""

from __future__ import annotations

import math
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from . import backends, plots
from .callbacks import Callback, Logs
from .checkpoint import load_model
from .config import use
from .datasets import load_digits
from .layers import Conv2D, Dense, Dropout, Flatten, Input, Layer, MaxPooling2D
from .models import Sequential
from .optimizers import Adam, Optimizer
from .random import set_random_seed

Array = np.ndarray[Any, Any]

BATCH_SIZE = 64
LEARNING_RATE = 3e-3


class CosineDecay(Callback):
    """Lower the learning rate to zero along half a cosine, batch by batch (https://arxiv.org/abs/1608.03983)."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.batch = 0

    def on_train_batch_begin(self, batch: int, logs: Logs) -> None:
        done = self.batch / (self.params["epochs"] * self.params["steps"])
        self.optimizer.learning_rate = LEARNING_RATE * (1 + math.cos(math.pi * done)) / 2
        self.batch += 1


def make_model() -> Sequential:
    """Return the network, still to be compiled: 33 546 parameters."""
    return Sequential(
        [
            Input((8, 8, 1)),
            Conv2D(16, 3, padding="same", activation="relu", kernel_initializer="he_normal"),
            Conv2D(32, 3, padding="same", activation="relu", kernel_initializer="he_normal"),
            MaxPooling2D(2),
            Conv2D(64, 3, padding="same", activation="relu", kernel_initializer="he_normal"),
            Flatten(),
            Dropout(0.5),
            Dense(10, activation="softmax"),
        ]
    )


def with_shifts(x: Array, y: Array) -> tuple[Array, Array]:
    """Return the images, and each once more moved by a pixel up, down, left and right."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    corners = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)]
    moved = [padded[:, row : row + 8, column : column + 8] for row, column in corners]
    return np.concatenate(moved), np.tile(y, len(moved))


def run(epochs: int = 8, seed: int = 0, out: str | Path = ".", pictures: bool = True) -> float:
    """Train, evaluate, time and save; print each result.

    Parameters
    ----------
    epochs : int
    seed : int
        Of the initial weights, the order of the batches and dropout: the same seed gives the same network.
    out : str or Path
        Directory for ``fastdl-digits.npz``, the model, and ``fastdl-digits.png``, the picture.
    pictures : bool
        Whether to draw, where matplotlib is installed.

    Returns
    -------
    float
        Accuracy on the images held out.

    Raises
    ------
    OSError
        If `out` is no directory that can be written to; nothing has been trained then.
    """
    out = _writable(out)
    (x_train, y_train), (x_test, y_test) = load_digits()
    set_random_seed(seed)
    optimizer = Adam(LEARNING_RATE)
    model = make_model()
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    print(f"A network of {model.count_params()} parameters learns {len(y_train)} handwritten digits,")
    print(f"each in five positions; {len(y_test)} more are held out.")

    start = time.perf_counter()
    model.fit(
        *with_shifts(x_train, y_train),
        batch_size=BATCH_SIZE,
        epochs=epochs,
        callbacks=[CosineDecay(optimizer)],
        verbose=1,
    )
    seconds = time.perf_counter() - start

    predicted = model.predict(x_test, verbose=0).argmax(axis=1)
    wrong = np.flatnonzero(predicted != y_test)
    accuracy = 1 - len(wrong) / len(y_test)
    print(f"\n{seconds / epochs:.2f} s an epoch, {seconds:.1f} s in all")
    print(
        f"{100 * accuracy:.2f} % of the digits held out are right, {len(wrong)} of {len(y_test)} are wrong\n"
    )
    counts, _ = plots.count_confusions(y_test, predicted, [str(digit) for digit in range(10)])
    _print_confusion(counts)

    path = out / "fastdl-digits.npz"
    model.save(path)
    if not np.array_equal(load_model(path).predict(x_test, verbose=0), model.predict(x_test, verbose=0)):
        raise RuntimeError(f"{path} does not hold the model that was saved")
    print(f"\nmodel    {path}")
    if pictures and find_spec("matplotlib") is None:
        print('picture  none, as matplotlib is not installed: pip install "fastdl[plots]"')
    elif pictures:
        path = out / "fastdl-digits.png"
        _draw(path, x_test[wrong], y_test[wrong], predicted[wrong], model.layers[0])
        print(f"picture  {path}")

    _print_step_times(x_train[:1], y_train[:1], seed)  # last, since plain loops take seconds an image
    return accuracy


def _print_confusion(counts: Array) -> None:
    print("digit    taken for" + "".join(f"{digit:4d}" for digit in range(10)))
    for digit, row in enumerate(counts):
        print(f"{digit:5d}" + " " * 12 + "".join(f"{n:4d}" if n else "   ." for n in row))


def _draw(path: Path, images: Array, truth: Array, predicted: Array, first: Layer) -> None:
    """Save a picture of the digits that were misclassified, at most 16, and of the first layer's filters."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), dpi=150, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    titles = [f"{p}, not {t}" for p, t in zip(predicted[:16], truth[:16])]
    if titles:
        plots.image_grid(images[:16], titles, columns=4, ax=left, cmap="gray_r", vmin=0, vmax=1)
    else:
        left.axis("off")
    plots.filters(first, columns=4, ax=right)
    left.set_anchor("NW")
    right.set_anchor("NW")
    left.set_title(f"Misclassified: {len(images)}", fontsize=11, loc="left")
    right.set_title("Filters of the first layer", fontsize=11, loc="left")
    figure.savefig(path)


def _print_step_times(x: Array, y: Array, seed: int) -> None:
    """Time one training step of the same network on the same image, engine by engine."""
    titles = {"naive": "plain loops", "numpy": "NumPy", "native": "native"}
    if backends.native_error is not None:
        del titles["native"]
    times, losses = {}, {}
    for engine in titles:
        with use(backend=engine):
            set_random_seed(seed)
            model = make_model()
            model.compile("adam", "sparse_categorical_crossentropy")
            losses[engine] = float(model.test_on_batch(x, y))
            # The other engines are quick enough to be measured when everything is warm.
            times[engine] = min(_step_seconds(model, x, y) for _ in range(1 if engine == "naive" else 50))
    spread = max(losses.values()) - min(losses.values())
    if not spread <= 1e-4 * losses["naive"]:
        raise RuntimeError(f"the engines disagree about the loss: {losses}")
    agreement = f"within {spread:.0e}" if spread else "alike"
    print(f"\nOne training step on one image, whose loss all compute {agreement}:\n")
    for engine, title in titles.items():
        factor = times["naive"] / times[engine]
        print(f"  {title:<12}{1e3 * times[engine]:12.3f} ms{factor:12,.0f} x")
    print("\nThe loops ran once; of 50 runs of the others the best counts.")
    if backends.native_error is not None:
        print(f"The compiled kernels are missing: {backends.native_error}")


def _step_seconds(model: Sequential, x: Array, y: Array) -> float:
    start = time.perf_counter()
    model.train_on_batch(x, y)
    return time.perf_counter() - start


def _writable(out: str | Path) -> Path:
    """Return the directory, made if need be; find out now rather than after the training if it is none."""
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise OSError(f"cannot write to {out}: {error.strerror}") from error
    return out
