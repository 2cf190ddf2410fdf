"""Training is killed in the middle, goes on from its last file, and ends with the very same weights.

One process trains to the end. A second one does the same and is killed, without a chance to clean up, as soon
as it has said that a few epochs are saved; a third one reads the file and goes on. A file holds all that the
next step depends on: weights, running means, the optimizer's moments, and where the generators of dropout and
of the order of the samples stand. It is written whole or not at all, so a kill in the middle of a save leaves
the one before.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import fastdl
from fastdl import Input, Sequential, plots
from fastdl.callbacks import LambdaCallback
from fastdl.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten


def make_model():
    """A network in which much is drawn and much is remembered."""
    model = Sequential(
        [
            Input((8, 8, 1)),
            Conv2D(16, 3, activation="relu"),
            BatchNormalization(),
            Flatten(),
            Dropout(0.5),
            Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train(file, epochs, seed):
    """Train to the end, from the file if it is there; save after each epoch, and say so."""
    fastdl.set_random_seed(seed)
    (x, y), _ = fastdl.datasets.load_digits()
    model = fastdl.load_model(file) if file.exists() else make_model()
    steps = -(-len(x) // 32)
    done = model.optimizer.iterations // steps

    def save(epoch, logs):
        model.save(file)
        print(f"saved epoch {epoch + 1}, loss {logs['loss']:.4f}", flush=True)

    model.fit(
        x, y, epochs=epochs, initial_epoch=done, verbose=0, callbacks=[LambdaCallback(on_epoch_end=save)]
    )


def start(file, options):
    """Start a process that trains."""
    arguments = [f"--train={file}", f"--epochs={options.epochs}", f"--seed={options.seed}"]
    return subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)


def losses_until(process, epoch):
    """Repeat what a process says until it has saved this epoch, and return the losses by epoch."""
    losses = {}
    for line in process.stdout:
        print("  " + line, end="")
        words = line.replace(",", "").split()
        losses[int(words[2])] = float(words[-1])
        if epoch in losses:
            break
    return losses


def compare(one, other):
    """Return in how many numbers the weights in two files differ, be it by a bit, and how many there are."""
    pairs = list(zip(fastdl.load_model(one).get_weights(), fastdl.load_model(other).get_weights()))
    different = sum(np.sum(a.view(np.uint32) != b.view(np.uint32)) for a, b in pairs)
    return int(different), sum(a.size for a, _ in pairs)


def main(argv=None):
    """Return how many weights differ from those of the undisturbed run, and how many there are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--picture", metavar="FILE", help="save the losses of both runs there; needs matplotlib"
    )
    parser.add_argument(
        "--train", metavar="FILE", type=Path, help="only train, as the processes do that this starts"
    )
    options = parser.parse_args(argv)
    if options.train:
        return train(options.train, options.epochs, options.seed)

    with tempfile.TemporaryDirectory() as folder:
        whole, parts = Path(folder, "whole.npz"), Path(folder, "parts.npz")
        print("Undisturbed:")
        with start(whole, options) as process:
            expected = losses_until(process, options.epochs)
        print("Killed:")
        with start(parts, options) as process:
            losses = losses_until(process, options.epochs // 2)
            process.kill()  # on POSIX that is SIGKILL, which no process can catch
        print(f"Its exit status is {process.returncode}. Going on from its file:")
        with start(parts, options) as process:
            losses |= losses_until(process, options.epochs)

        different, count = compare(whole, parts)

    print(f"\nOf {count} weights of 32 bits, {different} differ from those of the undisturbed run.")
    if options.picture:
        figure = plots.plot_history({"loss": list(expected.values()), "val_loss": list(losses.values())})
        axes = figure.axes[0]
        axes.legend(axes.lines, ["undisturbed", "killed, and resumed"], frameon=False)
        figure.savefig(options.picture)
    return different, count


if __name__ == "__main__":
    main()
