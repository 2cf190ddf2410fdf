"""An LSTM learns to write Python's own documentation, character by character.

The text is what ``help("topics")`` shows; it comes with Python. The network reads 64 characters and says
after each how likely every character is to be the next. How good it is at that is told in bits a character:
what a perfect compressor that used its probabilities would need. It is held against counting: how often
characters follow one another.
"""

import argparse
from pydoc_data.topics import topics

import numpy as np

import fastdl
from fastdl import Input, Sequential, plots
from fastdl.layers import LSTM, Dense, Embedding

LENGTH = 64


def load_text(characters):
    """Return the beginning of the topics, without what the layout of the pages adds."""
    text = "\n\n".join(topics[name] for name in sorted(topics))
    return "".join(c for c in text if c == "\n" or " " <= c <= "~")[:characters]


def windows(ids):
    """Return pieces of LENGTH characters, and for each of them the next character."""
    count = (len(ids) - 1) // LENGTH
    return ids[: count * LENGTH].reshape(count, LENGTH), ids[1 : count * LENGTH + 1].reshape(count, LENGTH)


def bits_by_counting(train, test, characters):
    """Return what the frequencies of pairs of characters need, in bits a character."""
    pairs = np.ones((characters, characters))  # as if each pair had been seen once more than it was
    np.add.at(pairs, (train[:-1], train[1:]), 1)
    chances = pairs / pairs.sum(axis=1, keepdims=True)
    return float(-np.log2(chances[test[:-1], test[1:]]).mean())


def write(model, ids, count, rng, temperature=0.7):
    """Return the ids with as many more as the model draws; a low temperature prefers what is likely."""
    ids = list(ids)
    for _ in range(count):
        chances = model(np.array([ids[-LENGTH:]]))[0, -1].astype(float) ** (1 / temperature)
        ids.append(rng.choice(len(chances), p=chances / chances.sum()))
    return ids


def main(argv=None):
    """Return the bits a character on text that was held out: of the network, of counting pairs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--characters", type=int, default=300_000, help="of the text (default: %(default)s)")
    parser.add_argument("--units", type=int, default=128, help="of the LSTM (default: %(default)s)")
    parser.add_argument(
        "--picture", metavar="FILE", help="save the course of training there; needs matplotlib"
    )
    options = parser.parse_args(argv)

    fastdl.set_random_seed(options.seed)
    text = load_text(options.characters)
    alphabet = sorted(set(text))
    ids = np.array([alphabet.index(c) for c in text])
    cut = len(ids) * 9 // 10
    train, test = windows(ids[:cut]), windows(ids[cut:])

    model = Sequential(
        [
            Input((None,)),
            Embedding(len(alphabet), 32),
            LSTM(options.units, return_sequences=True),
            Dense(len(alphabet), activation="softmax"),
        ]
    )
    model.compile(fastdl.optimizers.Adam(2e-2), "sparse_categorical_crossentropy")
    history = model.fit(*train, batch_size=16, epochs=options.epochs, validation_data=test, verbose=2)

    network = history.history["val_loss"][-1] / np.log(2)
    counting = bits_by_counting(ids[:cut], ids[cut:], len(alphabet))
    print(f"\nBits a character, on {len(ids) - cut} characters held out: {network:.2f}")
    print(f"by counting pairs: {counting:.2f}; knowing only the alphabet: {np.log2(len(alphabet)):.2f}")

    start = "The "
    written = write(model, [alphabet.index(c) for c in start], 300, np.random.default_rng(options.seed))
    print("\n" + "".join(alphabet[i] for i in written))
    if options.picture:
        plots.plot_history(history, path=options.picture)
    return network, counting


if __name__ == "__main__":
    main()
