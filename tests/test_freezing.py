"""What is frozen when a model is compiled, and what that means for another one: the adversarial pair."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from fastdl import Input, Model, Sequential, losses
from fastdl.layers import BatchNormalization, Dense
from fastdl.optimizers import SGD
from keras_cases import wave


def flat(model: Model | Sequential) -> np.ndarray:
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


def pair() -> tuple[Sequential, Sequential, Model]:
    generator = Sequential([Input((2,)), Dense(4, "tanh", seed=1), Dense(3, seed=2)], name="generator")
    discriminator = Sequential(
        [Input((3,)), Dense(5, "tanh", seed=3), Dense(1, "sigmoid", seed=4)], name="discriminator"
    )
    discriminator.compile(SGD(0.5), "binary_crossentropy")
    discriminator.trainable = False
    noise = Input((2,))
    combined = Model(noise, discriminator(generator(noise)))
    combined.compile(SGD(0.5), "binary_crossentropy")
    return generator, discriminator, combined


def test_the_combined_model_trains_the_generator_only() -> None:
    generator, discriminator, combined = pair()
    before = flat(generator), flat(discriminator)
    combined.train_on_batch(wave((6, 2)), np.ones(6))
    assert (flat(generator) != before[0]).all()
    np.testing.assert_array_equal(flat(discriminator), before[1])


def test_the_discriminator_still_trains_itself() -> None:
    generator, discriminator, combined = pair()
    free = copy.deepcopy(discriminator)
    free.trainable = True
    free.compile(SGD(0.5), "binary_crossentropy")
    x, y = wave((6, 3)), np.array([0, 1, 0, 1, 1, 0])
    before = flat(generator), flat(discriminator)
    for _ in range(2):
        assert discriminator.train_on_batch(x, y) == free.train_on_batch(x, y)
        combined.train_on_batch(wave((6, 2)), np.ones(6))
    assert (flat(discriminator) != before[1]).all()
    np.testing.assert_array_equal(flat(discriminator), flat(free))
    assert (flat(generator) != before[0]).all()
    assert not discriminator.trainable  # a step leaves the flags alone


def test_as_two_networks_by_hand() -> None:
    generator, discriminator, combined = pair()
    own_g, own_d = copy.deepcopy(generator), copy.deepcopy(discriminator)
    own_g.trainable = own_d.trainable = True
    noise = wave((6, 2))
    combined.train_on_batch(noise, np.ones(6))
    own_g.zero_grads()
    fake, g_back = own_g.vjp(noise)
    y, d_back = own_d.vjp(fake)
    _, gradient = losses.BinaryCrossentropy().vjp(np.ones((6, 1)), y)
    g_back(d_back(gradient()))
    SGD(0.5).step(own_g)
    # The combined model takes the loss from the logits: the two differ by rounding alone.
    np.testing.assert_allclose(flat(generator), flat(own_g), rtol=1e-5, atol=1e-6)


def test_a_step_that_fails_leaves_the_flags_alone() -> None:
    _, discriminator, _ = pair()
    with pytest.raises(ValueError, match="the loss is nan"):
        discriminator.train_on_batch(np.full((2, 3), np.nan), [0, 1])
    assert not discriminator.trainable


def test_running_statistics() -> None:
    """Frozen in the combined model, followed by the discriminator's own steps."""
    discriminator = Sequential([Input((3,)), BatchNormalization(), Dense(1, "sigmoid")], name="discriminator")
    discriminator.compile("sgd", "binary_crossentropy")
    discriminator.trainable = False
    noise = Input((2,))
    combined = Model(noise, discriminator(Dense(3)(noise)))
    combined.compile("sgd", "binary_crossentropy")
    before = {name: array.copy() for name, array in discriminator.state.items()}
    combined.train_on_batch(wave((6, 2)), np.ones(6))
    for name, array in discriminator.state.items():
        np.testing.assert_array_equal(array, before[name])
    with pytest.raises(ValueError, match="the loss is nan"):
        discriminator.train_on_batch(np.full((2, 3), np.nan), [0, 1])
    for name, array in discriminator.state.items():
        np.testing.assert_array_equal(array, before[name])
    discriminator.train_on_batch(wave((6, 3)), np.ones(6))
    assert all((array != before[name]).all() for name, array in discriminator.state.items())


def test_thawed_when_compiled_again() -> None:
    _, discriminator, combined = pair()
    discriminator.trainable = True
    before = flat(discriminator)
    combined.train_on_batch(wave((6, 2)), np.ones(6))
    np.testing.assert_array_equal(flat(discriminator), before)
    combined.compile("sgd", "binary_crossentropy")
    combined.train_on_batch(wave((6, 2)), np.ones(6))
    assert (flat(discriminator) != before).any()
