"""A U-Net finds the ink in noisy scenes (Ronneberger et al., 2015).

A scene is 32x32 pixels with handwritten digits at random places, on paper that is unevenly lit, under noise.
The network says of each pixel whether it is ink. On its way down it sees ever more of the surroundings and
loses the place; the skip connections bring the place back. It is held against the best single threshold,
which is chosen with the answers of the test scenes in hand.

https://arxiv.org/abs/1505.04597
"""

import argparse

import numpy as np

import fastdl
from fastdl import Input, Model, plots
from fastdl.layers import Concatenate, Conv2D, MaxPooling2D, UpSampling2D

SIZE = 32


def make_scenes(digits, count, rng):
    """Return scenes and where their ink is, each (count, 32, 32, 1)."""
    ink = np.zeros((count, SIZE, SIZE, 1), np.float32)
    cells = SIZE // 10
    for scene in ink:
        for cell in rng.choice(cells**2, size=rng.integers(3, 7), replace=False):
            row, column = 10 * np.array(divmod(cell, cells)) + rng.integers(0, 4, size=2)
            scene[row : row + 8, column : column + 8] = digits[rng.integers(len(digits))]
    slope = np.linspace(-1, 1, SIZE, dtype=np.float32)
    across, down = rng.uniform(-0.5, 0.5, (2, count, 1, 1, 1)).astype(np.float32)
    light = across * slope[:, np.newaxis] + down * slope[:, np.newaxis, np.newaxis]
    noise = 0.25 * rng.standard_normal(ink.shape, np.float32)
    return ink + light + noise, (ink > 0.5).astype(np.float32)


def make_unet(width=8, depth=3):
    """Down by halves and up again, where each size joins what it was on the way down."""

    def block(x, filters):
        x = Conv2D(filters, 3, padding="same", activation="relu", kernel_initializer="he_normal")(x)
        return Conv2D(filters, 3, padding="same", activation="relu", kernel_initializer="he_normal")(x)

    scene = Input((SIZE, SIZE, 1), name="scene")
    x, skips = scene, []
    for level in range(depth):
        x = block(x, width << level)
        skips.append(x)
        x = MaxPooling2D()(x)
    x = block(x, width << depth)
    for level in reversed(range(depth)):
        x = Concatenate()([UpSampling2D()(x), skips[level]])
        x = block(x, width << level)
    return Model(scene, Conv2D(1, 1, activation="sigmoid", name="ink")(x), name="unet")


def overlap(found, truth):
    """Intersection over union: the ink that is found, of all that is ink or taken for it."""
    found, truth = found > 0.5, truth > 0.5
    return float((found & truth).sum() / (found | truth).sum())


def main(argv=None):
    """Return the overlap with the true ink: of the network, of the best threshold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--scenes", type=int, default=512, help="how many to train with (default: %(default)s)"
    )
    parser.add_argument("--picture", metavar="FILE", help="save scenes and answers there; needs matplotlib")
    options = parser.parse_args(argv)

    fastdl.set_random_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    (digits, _), (new_digits, _) = fastdl.datasets.load_digits()
    x, y = make_scenes(digits, options.scenes, rng)
    x_test, y_test = make_scenes(new_digits, 100, rng)

    model = make_unet()
    model.compile(fastdl.optimizers.Adam(3e-3), "binary_crossentropy")
    model.fit(x, y, batch_size=8, epochs=options.epochs, verbose=2)

    found = model.predict(x_test)
    network = overlap(found, y_test)
    threshold = max(overlap(x_test > level, y_test) for level in np.linspace(0, 1.5, 31))
    print(f"\nOverlap with the true ink in {len(x_test)} new scenes: {network:.2f}")
    print(f"of the best threshold: {threshold:.2f}")

    if options.picture:
        rows = np.concatenate([x_test[:8], found[:8], y_test[:8]])
        titles = ["scene", *[""] * 7, "found", *[""] * 7, "true", *[""] * 7]
        plots.image_grid(rows, titles, columns=8, path=options.picture, cmap="gray_r", vmin=0, vmax=1)
    return network, threshold


if __name__ == "__main__":
    main()
