"""A convolutional network reads handwritten digits, and is held against a linear one.

Both are trained on 1438 images of 8x8 pixels and asked about 359 that they have not seen. What the linear one
lacks is what convolution adds: a stroke is the same stroke wherever it lies.
"""

import argparse

import fastdl
from fastdl import Input, Sequential, plots
from fastdl.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D


def make_linear():
    """A weight for each pixel and digit."""
    return Sequential([Input((8, 8, 1)), Flatten(), Dense(10, activation="softmax")])


def make_network():
    """Two convolutions, each followed by pooling, and a classifier."""
    return Sequential(
        [
            Input((8, 8, 1)),
            Conv2D(32, 3, padding="same", activation="relu"),
            MaxPooling2D(),
            Conv2D(64, 3, padding="same", activation="relu"),
            MaxPooling2D(),
            Flatten(),
            Dropout(0.3),
            Dense(10, activation="softmax"),
        ]
    )


def main(argv=None):
    """Train both and return the shares that they read correctly: the network's, the linear model's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", metavar="FILE", help="save the confusion matrix there; needs matplotlib")
    options = parser.parse_args(argv)

    fastdl.set_random_seed(options.seed)
    train, (x_test, y_test) = fastdl.datasets.load_digits()
    correct = []
    for name, model, rate in (("linear", make_linear(), 3e-2), ("network", make_network(), 3e-3)):
        model.compile(fastdl.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(*train, epochs=options.epochs, verbose=0)
        _, accuracy = model.evaluate(x_test, y_test, verbose=0)
        correct.append(accuracy)
        print(
            f"{name:8}{model.count_params():7} parameters, {accuracy:6.1%} of {len(y_test)} new digits right"
        )

    if options.picture:
        plots.confusion_matrix(y_test, model.predict(x_test).argmax(axis=1), path=options.picture)
    linear, network = correct
    return network, linear


if __name__ == "__main__":
    main()
