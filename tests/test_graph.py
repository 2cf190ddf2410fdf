"""Model: graphs of layers, with several inputs and outputs and shared parts."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fastdl
import keras_graphs as cases
from fastdl import Input, Model, Sequential, gradcheck
from fastdl.layers import (
    GRU,
    LSTM,
    Activation,
    Add,
    Bidirectional,
    Concatenate,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Lambda,
    Layer,
    TimeDistributed,
)
from fastdl.optimizers import SGD, Adam
from keras_cases import wave


def flat(model: Any) -> np.ndarray:
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


@pytest.mark.parametrize("name", cases.GRAPHS)
class TestAsKeras:
    def test_structure_and_predictions(self, name: str) -> None:
        model = cases.prepared(cases.GRAPHS[name][0], fastdl, cases.GRAPHS[name][1])
        x, _ = cases.data(model)
        with np.load(cases.RECORDED) as answers:
            assert [layer.name for layer in model.layers] == answers[f"{name}_layers"].tolist()
            shapes = [str(weight.shape) for weight in model.get_weights()]
            assert shapes == answers[f"{name}_shapes"].tolist()
            assert model.count_params() == answers[f"{name}_count"]
            for place, part in enumerate(cases.parts(model.predict(x))):
                # Sums of at most 54 products of numbers below 1, seven layers deep.
                np.testing.assert_allclose(part, answers[f"{name}_output_{place}"], rtol=1e-5, atol=1e-5)

    def test_training(self, name: str) -> None:
        model = cases.prepared(cases.GRAPHS[name][0], fastdl, cases.GRAPHS[name][1])
        x, y = cases.data(model)
        before = flat(model)
        with np.load(cases.RECORDED) as answers:
            expected = dict(zip(answers[f"{name}_logs"].tolist(), answers[f"{name}_values"]))
            trained = answers[f"{name}_trained"]
        first = model.train_on_batch(x, y, return_dict=True)
        assert first.keys() == expected.keys()
        for key, value in first.items():
            assert value == pytest.approx(expected[key], rel=1e-5), key
        for _ in range(cases.STEPS - 1):
            model.train_on_batch(x, y)
        np.testing.assert_allclose(flat(model), trained, rtol=1e-5, atol=1e-5)
        assert abs(trained - before).max() > 1e-3

    def test_gradients(self, name: str) -> None:
        model = cases.prepared(cases.GRAPHS[name][0], fastdl, cases.GRAPHS[name][1])
        x, _ = cases.data(model)
        some = {key: value[:2] for key, value in x.items()} if isinstance(x, dict) else (
            [value[:2] for value in x] if isinstance(x, list) else x[:2]
        )  # fmt: skip
        # wave() ties no two entries and hits no corner of relu.
        assert gradcheck(model, some, samples=25)


class TestShared:
    def test_cycle(self) -> None:
        """Two translators, each used three times in one step, and judged six ways."""
        with fastdl.use(dtype="float64"):
            there = Sequential([Dense(5, "tanh", name="t1"), Dense(3, name="t2")], name="there")
            back = Sequential([Dense(5, "tanh", name="b1"), Dense(3, name="b2")], name="back")
            judge = Sequential([Dense(1, "sigmoid", name="j")], name="judge")
            a, b = Input((3,), name="a"), Input((3,), name="b")
            fake_b, fake_a = there(a), back(b)
            model = Model(
                [a, b], [judge(fake_a), judge(fake_b), back(fake_b), there(fake_a), back(a), there(b)]
            )
        assert model.output_names == ["judge", "judge_1", "back", "there", "back_1", "there_1"]
        x = [wave((4, 3), 0.3), wave((4, 3), 0.9)]
        assert gradcheck(model, x)
        model.compile(
            Adam(0.01), ["mse", "mse", "mae", "mae", "mae", "mae"], loss_weights=[1, 1, 10, 10, 1, 1]
        )
        y = [np.ones((4, 1)), np.ones((4, 1)), x[0], x[1], x[0], x[1]]
        first = model.train_on_batch(x, y)
        assert first[0] == pytest.approx(np.dot(first[1:], [1, 1, 10, 10, 1, 1]), rel=1e-12)
        for _ in range(20):
            last = model.train_on_batch(x, y)
        assert last[0] < first[0]

    def test_a_shared_layer_counts_once(self) -> None:
        x = Input((4,))
        shared = Dense(4, "tanh")
        model = Model(x, Add()([shared(x), shared(shared(x))]))
        assert model.count_params() == 20
        assert len(model.params) == 2
        assert gradcheck(model, wave((3, 4)))

    def test_models_of_the_same_layers(self) -> None:
        x = Input((4,), name="x")
        code = Dense(2, "tanh", name="code")(x)
        autoencoder = Model(x, Dense(4, name="out")(code))
        encoder = Model(x, code)
        decoder = Model(code, autoencoder.output)
        assert encoder.layers == autoencoder.layers[:1]
        assert decoder.layers == autoencoder.layers[1:]
        autoencoder.compile("adam", "mse")
        autoencoder.train_on_batch(wave((3, 4)), wave((3, 4)))
        np.testing.assert_array_equal(decoder(encoder(wave((3, 4)))), autoencoder(wave((3, 4))))

    def test_inside_a_sequential(self) -> None:
        x = Input((4,))
        inner = Model(x, Add()([x, Dense(4, "relu")(x)]), name="residual")
        outer = Sequential([Input((4,)), inner, Dense(2, "softmax")])
        assert outer.output_shape == (None, 2)
        assert gradcheck(outer, wave((2, 4)))
        assert Model(x, outer(x)).final_activation == "softmax"

    def test_features_of_a_sequential(self) -> None:
        network = Sequential([Input((6, 6, 1)), Conv2D(2, 3, name="conv"), Flatten(), Dense(3)])
        features = Model(network.input, network.get_layer("conv").output)
        x = wave((2, 6, 6, 1))
        np.testing.assert_array_equal(features(x), network.layers[0](x))
        both = Model(network.inputs, [network.layers[0].output, network.output])
        np.testing.assert_array_equal(both(x)[1], network(x))

    def test_a_deep_graph_is_copied(self) -> None:
        x = tensor = Input((2,))
        for _ in range(150):
            tensor = Activation("tanh")(tensor)
        deep = Model(x, tensor)
        np.testing.assert_array_equal(copy.deepcopy(deep)(wave((2, 2))), deep(wave((2, 2))))


class TestSeveralOutputs:
    @staticmethod
    def model() -> Model:
        a, b = Input((4,), name="a"), Input((3,), name="b")
        h = Concatenate()([a, b])
        return Model([a, b], [Dense(2, "softmax", name="kind")(h), Dense(1, name="size")(h)])

    X = [wave((10, 4)), wave((10, 3), 0.4)]
    Y = [np.arange(10) % 2, wave((10, 1), 0.9)]

    def test_losses_by_hand(self) -> None:
        model = self.model()
        model.compile(
            SGD(0.1),
            ["sparse_categorical_crossentropy", "mse"],
            loss_weights=[0.5, 3],
            metrics=[["acc"], None],
        )
        kinds, sizes = model.predict(self.X)
        kind_loss = -np.log(kinds[np.arange(10), self.Y[0]]).mean()
        size_loss = ((sizes - self.Y[1]) ** 2).mean()
        logs = model.evaluate(self.X, self.Y, batch_size=4, verbose=0, return_dict=True)
        assert list(logs) == ["loss", "kind_loss", "size_loss", "kind_acc"]
        assert logs["kind_loss"] == pytest.approx(kind_loss, rel=1e-5)
        assert logs["size_loss"] == pytest.approx(size_loss, rel=1e-5)
        assert logs["loss"] == pytest.approx(0.5 * kind_loss + 3 * size_loss, rel=1e-5)

        kernel = model.get_layer("size").params["kernel"].copy()
        inputs = np.concatenate(self.X, axis=1)
        model.train_on_batch(self.X, self.Y)
        expected = kernel - 0.1 * 3 * 2 / 10 * inputs.T @ (sizes - self.Y[1])
        np.testing.assert_allclose(model.get_layer("size").params["kernel"], expected, rtol=1e-5, atol=1e-6)

    def test_ways_to_say_the_same(self) -> None:
        trained = []
        for loss, weights, x, y in [
            (["sparse_categorical_crossentropy", "mse"], [2, 1], self.X, self.Y),
            (
                {"size": "mse", "kind": "sparse_categorical_crossentropy"},
                {"size": 1, "kind": 2},
                {"b": self.X[1], "a": self.X[0]},
                {"size": self.Y[1], "kind": self.Y[0]},
            ),
            (("sparse_categorical_crossentropy", "mse"), (2, 1), tuple(self.X), tuple(self.Y)),
        ]:
            fastdl.set_random_seed(3)
            model = self.model()
            model.compile("adam", loss, loss_weights=weights)
            model.fit(x, y, epochs=2, batch_size=4, validation_split=0.3, verbose=0)
            assert {"val_loss", "val_kind_loss", "val_size_loss"} < set(model.history.history)
            trained.append(flat(model))
        np.testing.assert_array_equal(trained[0], trained[1])
        np.testing.assert_array_equal(trained[0], trained[2])

    def test_one_loss_is_every_outputs(self) -> None:
        model = self.model()
        model.compile("sgd", "mse")
        logs = model.test_on_batch(self.X, [np.zeros((10, 2)), self.Y[1]], return_dict=True)
        assert list(logs) == ["loss", "kind_loss", "size_loss"]

    def test_an_output_without_loss_needs_no_target(self) -> None:
        model = self.model()
        model.compile("sgd", {"kind": None, "size": "mse"})
        before = [layer.params["kernel"].copy() for layer in model.layers[1:]]
        assert list(model.train_on_batch(self.X, [None, self.Y[1]], return_dict=True)) == [
            "loss",
            "size_loss",
        ]
        changed = [
            bool((layer.params["kernel"] != then).any()) for layer, then in zip(model.layers[1:], before)
        ]
        assert changed == [False, True]

    def test_sample_weights(self) -> None:
        first, second = self.model(), self.model()
        second.set_weights(first.get_weights())
        weights = np.arange(10) / 5
        for model in (first, second):
            model.compile("sgd", ["sparse_categorical_crossentropy", "mse"])
        first.train_on_batch(self.X, self.Y, sample_weight=weights)
        second.train_on_batch(self.X, self.Y, sample_weight={"size": weights, "kind": weights})
        np.testing.assert_array_equal(flat(first), flat(second))
        second.train_on_batch(self.X, self.Y, sample_weight=[weights, None])

    def test_an_activation_that_is_read_again_is_not_left_out(self) -> None:
        x = Input((4,))
        kind = Dense(3, "softmax", name="kind")(x)
        model = Model(x, [kind, Dense(1, name="size")(kind)])
        assert model.final_activations == Model(x, [kind, kind]).final_activations == ["linear", "linear"]
        model.compile("sgd", ["sparse_categorical_crossentropy", "mse"])
        expected = ((model.predict(self.X[0])[1] - self.Y[1]) ** 2).mean()
        for step in (model.test_on_batch, model.train_on_batch):
            assert step(self.X[0], self.Y)[2] == pytest.approx(expected, rel=1e-5)

    def test_predict_by_batches(self) -> None:
        model = self.model()
        for whole, pieces in zip(model(self.X), model.predict(self.X, batch_size=3)):
            np.testing.assert_allclose(pieces, whole, rtol=0, atol=1e-6)

    def test_fixed_mode(self) -> None:
        x = Input((50,))
        drop = Dropout(0.5)
        model = Model(x, [drop(x), drop(x, training=False)])
        dropped, kept = model(wave((2, 50)), training=True)
        np.testing.assert_array_equal(kept, wave((2, 50)))
        assert (dropped != kept).any()


class TestRefused:
    def test_graphs(self) -> None:
        a, b = Input((4,), name="a"), Input((4,), name="b")
        y = Add()([a, b])
        with pytest.raises(ValueError, match="depend on the Input 'b', not among the inputs"):
            Model(a, y)
        with pytest.raises(ValueError, match="no output depends on the input 'b'"):
            Model([a, b], Dense(2)(a))
        with pytest.raises(ValueError, match="an input is given twice"):
            Model([a, b, a], y)
        with pytest.raises(TypeError, match="inputs must be symbolic tensors; got array"):
            Model(np.ones(3), y)
        with pytest.raises(ValueError, match="outputs must hold at least one"):
            Model([a, b], [])
        with pytest.raises(ValueError, match="a layer named 'one' already"):
            Model(a, Dense(2, name="one")(Dense(2, name="one")(a)))
        with pytest.raises(TypeError, match="arrays and symbolic tensors cannot be mixed"):
            Add()([a, np.ones((2, 4))])
        with pytest.raises(ValueError, match="must have 4 axes"):
            Conv2D(2, 3)(a)

    def test_a_cycle(self) -> None:
        part = Sequential([Input((4,)), Dense(4)], name="part")
        x = Input((4,))
        whole = Model(x, part(x), name="whole")
        for layer in (part, whole):
            with pytest.raises(ValueError, match="contains this model; the graph has a cycle"):
                part.add(layer)
        assert len(part.layers) == 1
        described = whole.get_config()
        described["calls"][0]["reads"] = 1
        with pytest.raises(ValueError, match="needs tensor 1 when there are 1: the graph has a cycle"):
            Model.from_config(described)

    def test_numbers_for_symbols(self) -> None:
        x = Input((4,), name="x")
        for misuse in (lambda: np.sum(x), lambda: np.asarray(x), lambda: Dense(2)(np.asarray(x))):
            with pytest.raises(TypeError):
                misuse()
        with pytest.raises(TypeError):
            x + np.ones(4)  # type: ignore[operator]

    @pytest.mark.parametrize(
        "message, call",
        [
            ("net: x must be a list of 2, for a, b; got one array of shape", lambda m, x, y: m.fit(x[0], y)),
            ("net: x must be a list of 2, for a, b; got 3", lambda m, x, y: m.fit([*x, x[0]], y)),
            ("net: x must have the keys a, b; got a, c", lambda m, x, y: m.fit({"a": x[0], "c": x[1]}, y)),
            ("x has shape .10, 4., .10, 4., but the model expects .None, 4., .None, 3.",
             lambda m, x, y: m.predict([x[0], x[0]])),
            ("the inputs in x have 10, 9 samples", lambda m, x, y: m.fit([x[0], x[1][:9]], y)),
            ("fit: y must be a list of 2, for kind, size; got 1", lambda m, x, y: m.fit(x, [y[0]])),
            ("y must be a list of 2, for kind, size; got one array", lambda m, x, y: m.fit(x, y[0])),
            ("x has 10 samples but y of size has shape .9, 1.", lambda m, x, y: m.fit(x, [y[0], y[1][:9]])),
            ("y_true must have y_pred's shape .10, 1.; got .10, 3.", lambda m, x, y: m.fit(x, [y[0], x[1]])),
            ("the loss of size is nan", lambda m, x, y: m.train_on_batch(x, [y[0], y[1] * np.nan])),
            ("class_weight is for models of one output", lambda m, x, y: m.fit(x, y, class_weight={0: 1})),
            ("loss must be a list of 2, for kind, size; got 3",
             lambda m, x, y: m.compile("sgd", ["mse"] * 3)),
            ("loss must have the keys kind, size; got size",
             lambda m, x, y: m.compile("sgd", {"size": "mse"})),
            ("loss_weights must be a list of 2", lambda m, x, y: m.compile("sgd", "mse", loss_weights=[1])),
            ("compile: metrics must be a list of 2", lambda m, x, y: m.compile("sgd", "mse", None, ["mae"])),
            ("metrics are for kind, size; got 'kinds'",
             lambda m, x, y: m.compile("sgd", "mse", None, {"kinds": "mae"})),
            ("there is no layer 'x'; there are", lambda m, x, y: m.get_layer("x")),
        ],
    )  # fmt: skip
    def test_calls(self, message: str, call: Any) -> None:
        model = TestSeveralOutputs.model()
        model.name = "net"
        model.compile(Adam(), ["sparse_categorical_crossentropy", "mse"])
        before = flat(model)
        with pytest.raises(ValueError, match=message):
            call(model, TestSeveralOutputs.X, TestSeveralOutputs.Y)
        np.testing.assert_array_equal(flat(model), before)
        assert model.optimizer is not None
        assert model.optimizer.iterations == 0


def test_own_layer_in_a_graph() -> None:
    class Halves(Layer):
        def vjp(self, x: np.ndarray, training: bool = True) -> Any:
            return [x[:, :2], x[:, 2:]], lambda dy: np.concatenate(dy, axis=1)

    x = Input((5,))
    left, right = Halves(name="halves")(x)
    assert (left.shape, right.shape) == ((None, 2), (None, 3))
    model = Model(x, [Dense(2)(left), Dense(2)(right)])
    assert gradcheck(model, wave((2, 5)))
    one_half = Model(x, Dense(2)(right))  # what nobody needs has a gradient of zero
    assert gradcheck(one_half, wave((2, 5)))
    # What is given is not overwritten by the call that would have made it.
    given = Model([x, left], Add()([left, Dense(2)(right)]))
    a, b = given([wave((2, 5)), np.zeros((2, 2))]), given([wave((2, 5)), np.ones((2, 2))])
    np.testing.assert_allclose(b - a, 1, rtol=1e-6)


def test_recurrent_layers_in_a_graph() -> None:
    x = Input((5, 3))
    _, h, c = LSTM(4, return_state=True)(x)
    both = Bidirectional(GRU(2, return_sequences=True))(x)
    model = Model(x, [Dense(2)(h), c, TimeDistributed(Dense(2))(both)])
    assert model.output_shape == [(None, 2), (None, 4), (None, 5, 2)]
    assert gradcheck(model, wave((2, 5, 3)), samples=20)
    noisy = Model(x, LSTM(4, dropout=0.5)(x))
    assert (noisy(wave((2, 5, 3)), training=True) != noisy(wave((2, 5, 3)))).any()


def test_a_list_may_grow_after_the_call() -> None:
    """As the blocks of a DenseNet are written."""
    tensors: list[Any] = [Input((2,))]
    for _ in range(2):
        tensors.append(Concatenate()([*tensors, tensors[0]]))
    joined = Concatenate()(tensors)
    tensors.append(joined)
    model = Model(tensors[0], joined)
    assert model.count_params() == 0
    assert model(np.ones((1, 2))).shape == (1, joined.shape[1])


def test_summary() -> None:
    x = Input((4,), name="x")
    shared = Dense(4, name="shared")
    lines: list[str] = []
    Model(x, Add(name="sum")([shared(x), shared(shared(x))]), name="net").summary(print_fn=lines.append)
    assert lines == [
        'Model: "net"',
        "_" * 80,
        "Layer (type)            Output Shape            Param # Connected to",
        "=" * 80,
        "x (Input)               (None, 4)               0       -",
        "shared (Dense)          (None, 4)               20      x",
        "                                                        x",
        "                                                        shared[1]",
        "sum (Add)               (None, 4)               0       shared[0]",
        "                                                        shared[2]",
        "=" * 80,
        "Total params: 20",
        "Trainable params: 20",
        "Non-trainable params: 0",
    ]


def test_a_line_is_a_graph() -> None:
    x = Input((4,), name="x")
    y = Lambda(lambda x: x)(Dense(3, "softmax", name="head")(x))
    model = Model([x], y)
    assert model.input_shape == [(None, 4)]
    assert model.final_activation == "linear"
    np.testing.assert_array_equal(model([wave((2, 4))]), model(wave((2, 4))))
    np.testing.assert_array_equal(model({"x": wave((2, 4))}), model(wave((2, 4))))
    assert model.vjp([wave((2, 4))], training=False)[0].shape == (2, 3)
