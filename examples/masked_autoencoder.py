"""An autoencoder fills in a matrix of ratings of which most are missing (Sedhain et al., 2015).

Rows are people, columns are things that they rate, and the numbers go from 0 to 16. The ratings are real,
though the story is not: a person is a handwritten digit, a thing is a pixel, the rating is its ink; so one
can see what is filled in. Six ratings of ten are hidden. The loss counts those that are known, and the result
is measured on the others, against the mean rating of each thing.

https://doi.org/10.1145/2740908.2742726
"""

import argparse

import numpy as np

import fastdl
from fastdl import Input, Sequential, plots
from fastdl.layers import Dense, Dropout
from fastdl.losses import Masked

KNOWN = 0.4


def load_ratings():
    """Return the whole matrix: 1797 people, 64 things, ratings from 0 to 16."""
    (x, _), (x_more, _) = fastdl.datasets.load_digits()
    return 16 * np.concatenate([x, x_more]).reshape(-1, 64)


def root_mean_square(errors):
    return float(np.sqrt(np.mean(np.square(errors))))


def main(argv=None):
    """Return the error on hidden ratings: of the network, of each thing's mean."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", metavar="FILE", help="save what was filled in there; needs matplotlib")
    options = parser.parse_args(argv)

    fastdl.set_random_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    ratings = load_ratings()
    is_known = rng.random(ratings.shape) < KNOWN
    known = np.where(is_known, ratings, np.nan)
    means = np.nanmean(known, axis=0)

    # What goes in is by how much a rating differs from the mean, and 0 where there is none. What should come
    # out is the same, and nothing is asked where there is none.
    differences = (known - means).astype(np.float32)
    model = Sequential(
        [
            Input((64,)),
            Dropout(0.5),  # or the network would only repeat what it is given
            Dense(128, activation="relu"),
            Dense(32, activation="relu"),
            Dense(64),
        ]
    )
    model.compile(fastdl.optimizers.Adam(2e-3), Masked("mse"))
    x = np.nan_to_num(differences)
    history = model.fit(x, differences, batch_size=64, epochs=options.epochs, verbose=0)
    shown = history.history["loss"][:: max(1, options.epochs // 8)]
    print("loss of the known ones:", " ".join(f"{loss:.1f}" for loss in shown))

    filled = (means + model.predict(x)).clip(0, 16)
    network = root_mean_square((filled - ratings)[~is_known])
    by_means = root_mean_square((means - ratings)[~is_known])
    print(f"\nError on {np.sum(~is_known)} hidden ratings from 0 to 16: {network:.2f}")
    print(f"of the mean of each thing: {by_means:.2f}")

    if options.picture:
        rows = [known[:10], np.where(is_known, ratings, filled)[:10], ratings[:10]]
        titles = ["known", *[""] * 9, "filled in", *[""] * 9, "true", *[""] * 9]
        images = np.concatenate(rows).reshape(-1, 8, 8)
        plots.image_grid(images, titles, columns=10, path=options.picture, vmin=0, vmax=16)
    return network, by_means


if __name__ == "__main__":
    main()
