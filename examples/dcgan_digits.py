"""Two networks play against each other until one of them writes digits: a DCGAN (Radford et al., 2015).

The generator makes images of noise, the discriminator tells them from real ones. The generator is trained
inside a combined model, generator then discriminator, in which the discriminator is frozen: it was compiled
while it was trainable and goes on learning by itself, and the combined model was compiled afterwards.

How good the result is, the nearest real digits tell: how far away they are, and that all ten kinds are among
them. The distance alone would reward a generator that makes one good image over and over again.

https://arxiv.org/abs/1511.06434
"""

import argparse

import numpy as np

import fastdl
from fastdl import Input, Model, Sequential, plots
from fastdl.layers import (
    BatchNormalization,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    LeakyReLU,
    Reshape,
)
from fastdl.optimizers import Adam

NOISE = 32
BATCH = 32


def make_generator():
    """Noise of NOISE numbers to an image: twice as large with each transposed convolution."""
    return Sequential(
        [
            Input((NOISE,)),
            Dense(2 * 2 * 48, use_bias=False),
            BatchNormalization(),
            LeakyReLU(0.2),
            Reshape((2, 2, 48)),
            Conv2DTranspose(24, 4, strides=2, padding="same", use_bias=False),
            BatchNormalization(),
            LeakyReLU(0.2),
            Conv2DTranspose(1, 4, strides=2, padding="same", activation="sigmoid"),
        ],
        name="generator",
    )


def make_discriminator():
    """An image to the probability that it is real."""
    return Sequential(
        [
            Input((8, 8, 1)),
            Conv2D(16, 4, strides=2, padding="same"),
            LeakyReLU(0.2),
            Dropout(0.3),
            Conv2D(32, 4, strides=2, padding="same"),
            LeakyReLU(0.2),
            Dropout(0.3),
            Flatten(),
            Dense(1, activation="sigmoid"),
        ],
        name="discriminator",
    )


def train(x, epochs, rng):
    """Return a generator of images like those in x."""
    generator, discriminator = make_generator(), make_discriminator()
    discriminator.compile(Adam(1e-3, beta_1=0.5), "binary_crossentropy")
    discriminator.trainable = False
    noise = Input((NOISE,), name="noise")
    combined = Model(noise, discriminator(generator(noise)), name="combined")
    combined.compile(Adam(1e-3, beta_1=0.5), "binary_crossentropy")

    real, fake = np.full((BATCH, 1), 0.9), np.zeros((BATCH, 1))  # 0.9: a discriminator that is never sure
    for epoch in range(epochs):
        losses = []
        for rows in rng.permutation(len(x))[: len(x) // BATCH * BATCH].reshape(-1, BATCH):
            made = generator.predict(rng.standard_normal((BATCH, NOISE)), batch_size=BATCH)
            told = discriminator.train_on_batch(x[rows], real) + discriminator.train_on_batch(made, fake)
            fooled = combined.train_on_batch(rng.standard_normal((BATCH, NOISE)), np.ones((BATCH, 1)))
            losses.append((told / 2, fooled))
        if (epoch + 1) % 10 == 0:
            told, fooled = np.mean(losses, axis=0)
            print(f"epoch {epoch + 1:3}: loss of discriminator {told:.2f}, generator {fooled:.2f}")
    return generator


def nearest(images, real):
    """Return for each image the distance to the real one that is most like it, and which that is."""
    images, real = images.reshape(len(images), -1), real.reshape(len(real), -1)
    squares = (images**2).sum(1)[:, np.newaxis] + (real**2).sum(1) - 2 * images @ real.T
    numbers = squares.argmin(axis=1)
    return np.sqrt(squares.min(axis=1).clip(0)), numbers


def main(argv=None):
    """Return how far generated images are from real ones, and images whose pixels are drawn one by one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", metavar="FILE", help="save generated digits there; needs matplotlib")
    options = parser.parse_args(argv)

    fastdl.set_random_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    (x, y), (x_test, _) = fastdl.datasets.load_digits()
    generator = train(x, options.epochs, rng)
    made = generator.predict(rng.standard_normal((500, NOISE)))
    # Each pixel from another image: as bright as in digits, and no digit.
    drawn = rng.permuted(x, axis=0)[:500]

    print("\nDistance to the nearest real digit")
    rows = {"other real digits": x_test, "generated": made, "pixels drawn one by one": drawn}
    distances = {name: float(nearest(images, x)[0].mean()) for name, images in rows.items()}
    for name, distance in distances.items():
        print(f"  {distance:.2f}  {name}")
    kinds = np.bincount(y[nearest(made, x)[1]], minlength=10)
    print("Of the kinds 0 to 9 there are", *kinds)

    if options.picture:
        plots.image_grid(made[:60], columns=12, path=options.picture, cmap="gray_r", vmin=0, vmax=1)
    return distances["generated"], distances["pixels drawn one by one"]


if __name__ == "__main__":
    main()
