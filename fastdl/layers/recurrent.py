"""Recurrent layers: the plain one, LSTM and GRU."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import checks, constraints, functional, initializers, nested, regularizers
from .base import Array, Layer, Shape
from .masks import KeptSteps, as_mask
from .operation import Operation
from .undo import note_attribute


class Recurrent(Layer):
    """Base of the recurrent layers, with what they have in common.

    A subclass names its function in `operation`, the function's own arguments in `arguments`, how many gates
    it has and how many states.

    Parameters
    ----------
    units : int
        Size of the state, and of an output.
    activation : str
        Of the candidate state.
    use_bias : bool
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer
    kernel_regularizer, recurrent_regularizer, bias_regularizer : str or Regularizer, optional
    kernel_constraint, recurrent_constraint, bias_constraint : str or Constraint, optional
    dropout, recurrent_dropout : float
        The fractions of the input and of the state that count for nothing, in training. What is dropped is
        the same at all steps of a sequence (Gal and Ghahramani, 2016).
    return_sequences : bool
        Return the output of each step, (N, T, units), instead of that of the last one, (N, units).
    return_state : bool
        Return a list: the output, then the last state. Its gradient is a list as well, with None for what
        counts for nothing.
    go_backwards : bool
        Go from the last step to the first. The outputs are then in that order too.
    stateful : bool
        Begin each batch where the last one ended, until `reset_states`; no gradient goes from one to the
        other. Then a call does write something on the layer: the state.
    **options
        As for every `Layer`.
    """

    operation: Operation
    arguments: dict[str, Any]
    gates: int
    activations: tuple[str, ...] = ("tanh",)
    states = 1
    zero_output_for_mask = False  # where a step is left out: 0, instead of the last output again

    def __init__(
        self,
        units: int,
        activation: str = "tanh",
        use_bias: bool = True,
        kernel_initializer: str | initializers.Initializer = "glorot_uniform",
        recurrent_initializer: str | initializers.Initializer = "orthogonal",
        bias_initializer: str | initializers.Initializer = "zeros",
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        kernel_regularizer: str | regularizers.Regularizer | None = None,
        recurrent_regularizer: str | regularizers.Regularizer | None = None,
        bias_regularizer: str | regularizers.Regularizer | None = None,
        kernel_constraint: str | constraints.Constraint | None = None,
        recurrent_constraint: str | constraints.Constraint | None = None,
        bias_constraint: str | constraints.Constraint | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.units = checks.integer(self.name, "units", units)
        checks.one_of(self.name, "activation", activation, self.activations)
        self.activation = activation
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = regularizers.get(recurrent_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.recurrent_constraint = constraints.get(recurrent_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.dropout = checks.number(self.name, "dropout", dropout, below=1.0)
        self.recurrent_dropout = checks.number(self.name, "recurrent_dropout", recurrent_dropout, below=1.0)
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.arguments = {}
        self._last: tuple[Array, ...] | None = None

    @property
    def bias_shape(self) -> tuple[int, ...]:
        return (self.gates * self.units,)

    def build(self, input_shape: Any) -> None:
        if isinstance(input_shape, list):  # the initial states follow
            input_shape = input_shape[0]
        if len(input_shape) != 3:
            raise ValueError(f"{self.name}: x must be (batch, steps, features); got shape {input_shape}")
        columns = self.gates * self.units
        self.add_weight("kernel", (input_shape[-1], columns), self.kernel_initializer)
        self.add_weight("recurrent_kernel", (self.units, columns), self.recurrent_initializer)
        if self.use_bias:
            self.add_weight("bias", self.bias_shape, self.bias_initializer)

    # -- running -----------------------------------------------------------------------------------

    def __call__(
        self, x: Any, training: bool | None = None, *, mask: Any = None, initial_state: Any = None
    ) -> Any:
        """Return the output; `training` and `mask` as for `vjp`.

        `initial_state`, of an LSTM [h, c], is the same as x being [x, h, c].
        """
        if initial_state is not None:
            x = [x, *nested.parts(initial_state)]
        return super().__call__(x, training, mask=mask)

    def accept(self, x: Any) -> Any:
        """Return x as an array, or [x, *states] as a list of them; build the layer if it is not built."""
        if not (nested.is_group(x) and len(x) and np.ndim(x[0]) == 3):
            return super().accept(x)
        if len(x) != 1 + self.states:
            raise ValueError(f"{self.name}: the initial state must be {self.states} arrays; got {len(x) - 1}")
        return [super().accept(x[0]), *map(self.as_floats, x[1:])]

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """Return the mask of the output, which is that of x where all steps are returned, in their order."""
        out = None
        if mask is not None and self.return_sequences:
            out = as_mask(self.name, mask, x)
            out = out[:, ::-1] if self.go_backwards else out
        return [out, *(None,) * self.states] if self.return_state else out

    def call(self, x: Any, mask: Any = None) -> Any:
        kept = None if mask is None else KeptSteps(as_mask(self.name, mask, x), self.go_backwards)
        given = self._given(kept, *nested.parts(x))
        hs, last = self.operation.run(*given, **self._settings(kept))
        return self._output(hs, self._remembered(last), kept, given[1])

    def vjp(self, x: Any, training: bool = True, mask: Any = None) -> tuple[Any, Any]:
        """Return the output and its vector-Jacobian product, as every layer does.

        Parameters
        ----------
        x : ndarray (N, T, D), or a list of it and the initial states
            The gradient is of the same form.
        training : bool
        mask : (N, T) array of bool, optional
            Which steps count. At the others the state stays as it is and the output is the last one again;
            what x holds there has no influence, not even NaN.
        """
        return self.partial_vjp(x, training, mask=mask)

    def partial_vjp(
        self,
        x: Any,
        training: bool = True,
        *,
        wants_dx: bool = True,
        logits: bool = False,
        mask: Any = None,
    ) -> tuple[Any, Any]:
        with_states = nested.is_group(x)
        x, *states = nested.parts(x)
        kept = None if mask is None else KeptSteps(as_mask(self.name, mask, x), self.go_backwards)
        settings = self._settings(kept)
        dropped: Array | None = None
        if training and self.dropout:
            dropped = self._kept((len(x), 1, x.shape[-1]), self.dropout)
            x = x * dropped
        if training and self.recurrent_dropout:
            settings["recurrent_mask"] = self._kept((len(x), self.units), self.recurrent_dropout)
        given = self._given(kept, x, *states)
        (hs, last), ctx = self.operation.forward(*given, **settings)
        wanted = ("x", "h0", "c0")[: 1 + len(states)] if wants_dx else ()
        needs = wanted + (("w_x", "w_h", "b") if self.trainable else ())

        def back(dy: Any) -> Any:
            dhs, dlast, dh0 = self._output_gradient(dy, kept)
            dx, *dstates, dkernel, drecurrent, dbias = self.operation.backward(dhs, ctx, *dlast, needs=needs)
            self.accumulate(kernel=dkernel, recurrent_kernel=drecurrent, bias=dbias)
            if not wants_dx:
                return None
            if kept is not None:
                dx = kept.from_front(dx)
            if dropped is not None:
                dx = dx * dropped
            if not with_states:
                return dx
            return [dx, dstates[0] if dh0 is None else dstates[0] + dh0, *dstates[1:]]

        return self._output(hs, self._remembered(last), kept, given[1]), back

    def _given(self, kept: KeptSteps | None, x: Array, *states: Array | None) -> tuple[Array | None, ...]:
        """Return the arguments of the function."""
        if not states and self._last and len(x):  # a batch of none comes from compute_output_shape
            states = self._last
            if len(self._last[0]) != len(x):
                raise ValueError(
                    f"{self.name}: x holds {len(x)} sequences, but the states are those of"
                    f" {len(self._last[0])}; reset_states() begins anew"
                )
        states = states or (None,) * self.states
        params = self._params
        x = x if kept is None else kept.to_front(x)
        return x, *states, params["kernel"], params["recurrent_kernel"], params.get("bias")

    def _settings(self, kept: KeptSteps | None) -> dict[str, Any]:
        lengths = None if kept is None else kept.lengths
        return {**self.arguments, "reverse": self.go_backwards, "lengths": lengths}

    def _kept(self, shape: tuple[int, ...], rate: float) -> Array:
        return functional.dropout(np.ones(shape, self.dtype), rate, rng=self._rng)

    def _remembered(self, last: Any) -> tuple[Array, ...]:
        states = last if isinstance(last, tuple) else (last,)
        if self.stateful and len(states[0]):
            note_attribute(self, "_last")
            self._last = states
        return states

    def _output(self, hs: Array, last: tuple[Array, ...], kept: KeptSteps | None, h0: Array | None) -> Any:
        y = last[0]
        if self.return_sequences:
            y = hs if kept is None else kept.states_at(hs, h0)
            if kept is not None and self.zero_output_for_mask:
                y = kept.only_kept(y)
            if self.go_backwards:
                y = np.ascontiguousarray(y[:, ::-1])
        return [y, *last] if self.return_state else y

    def _output_gradient(
        self, dy: Any, kept: KeptSteps | None
    ) -> tuple[Array | None, list[Array | None], Array | None]:
        """Return the gradients of hs, of the last states and of h0, from that of what `_output` returned."""
        dy, *dlast = dy if self.return_state else (dy, *(None,) * self.states)
        if dy is None:
            return None, dlast, None
        if not self.return_sequences:
            return None, [dy if dlast[0] is None else dlast[0] + dy, *dlast[1:]], None
        dhs = dy[:, ::-1] if self.go_backwards else dy
        if kept is None:
            return dhs, dlast, None
        if self.zero_output_for_mask:
            dhs = kept.only_kept(dhs)
        dhs, dh0 = kept.states_at_back(dhs)
        return dhs, dlast, dh0

    def reset_states(self) -> None:
        """Begin the next batch with states of 0."""
        self._last = None

    reset_state = reset_states  # Keras has had both names

    def astype(self, dtype: DTypeLike) -> Layer:
        self.reset_states()
        return super().astype(dtype)


class SimpleRNN(Recurrent):
    """The plain recurrent layer: h = activation(x·kernel + h·recurrent_kernel + bias) (Elman, 1990).

    Parameters
    ----------
    units : int
        Size of the state, and of an output.
    activation : "tanh" or "relu"
    use_bias, kernel_initializer, recurrent_initializer, bias_initializer, dropout, recurrent_dropout
        As in `LSTM`.
    return_sequences, return_state, go_backwards, stateful
        As in `LSTM`.
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import SimpleRNN
    >>> SimpleRNN(4)(np.ones((2, 5, 3), np.float32)).shape
    (2, 4)
    """

    operation = Operation.named("rnn")
    gates = 1
    activations = ("tanh", "relu")

    def __init__(self, units: int, activation: str = "tanh", **options: Any) -> None:
        super().__init__(units, activation, **options)
        self.arguments = {"activation": activation}


class _Gated(Recurrent):
    """Base of the recurrences whose gates have an activation of their own."""

    def __init__(
        self, units: int, activation: str, recurrent_activation: str, use_bias: bool, **options: Any
    ) -> None:
        super().__init__(units, activation, use_bias, **options)
        checks.one_of(self.name, "recurrent_activation", recurrent_activation, ("sigmoid",))
        self.recurrent_activation = recurrent_activation


class LSTM(_Gated):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997); `functional.lstm` has the equations.

    Parameters
    ----------
    units : int
        Size of the state, and of an output.
    activation, recurrent_activation : str
        "tanh" and "sigmoid"; no others.
    use_bias : bool
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer
    kernel_regularizer, recurrent_regularizer, bias_regularizer : str or Regularizer, optional
    kernel_constraint, recurrent_constraint, bias_constraint : str or Constraint, optional
    unit_forget_bias : bool
        Let the forget gate's bias begin at 1 (Jozefowicz et al., 2015).
    dropout, recurrent_dropout : float
        The fractions of the input and of the state that count for nothing, in training. What is dropped is
        the same at all steps of a sequence (Gal and Ghahramani, 2016).
    return_sequences : bool
        Return the output of each step, (N, T, units), instead of that of the last one, (N, units).
    return_state : bool
        Return a list: the output, then the last state. Its gradient is a list as well, with None for what
        counts for nothing.
    go_backwards : bool
        Go from the last step to the first. The outputs are then in that order too.
    stateful : bool
        Begin each batch where the last one ended, until `reset_states`; no gradient goes from one to the
        other. Then a call does write something on the layer: the state.
    **options
        As for every `Layer`; `seed` fixes the masks of dropout too.

    Notes
    -----
    x is (N, T, D); ``params`` hold the kernel (D, 4·units), the recurrent kernel (units, 4·units) and the
    bias (4·units,), gates in the order i, f, g, o.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import LSTM
    >>> x = np.ones((2, 5, 3), np.float32)
    >>> LSTM(4, return_sequences=True)(x).shape
    (2, 5, 4)
    >>> y, h, c = LSTM(4, return_state=True)(x)
    >>> bool((y == h).all())
    True
    >>> LSTM(4)(x, initial_state=[h, c]).shape
    (2, 4)
    """

    operation = Operation.named("lstm")
    gates = 4
    states = 2

    def __init__(
        self,
        units: int,
        activation: str = "tanh",
        recurrent_activation: str = "sigmoid",
        use_bias: bool = True,
        unit_forget_bias: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(units, activation, recurrent_activation, use_bias, **options)
        self.unit_forget_bias = unit_forget_bias

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        if self.use_bias and self.unit_forget_bias:
            self._params["bias"][self.units : 2 * self.units] = 1


class GRU(_Gated):
    """Gated recurrent unit (Cho et al., 2014); `functional.gru` has the equations.

    Parameters
    ----------
    units : int
        Size of the state, and of an output.
    activation, recurrent_activation : str
        "tanh" and "sigmoid"; no others.
    use_bias, kernel_initializer, recurrent_initializer, bias_initializer, dropout, recurrent_dropout
        As in `LSTM`.
    reset_after : bool
        Apply the reset gate after the recurrent product instead of before it.
    return_sequences, return_state, go_backwards, stateful
        As in `LSTM`.
    **options
        As for every `Layer`.

    Notes
    -----
    x is (N, T, D); ``params`` hold the kernel (D, 3·units), the recurrent kernel (units, 3·units) and the
    bias, (2, 3·units) with `reset_after`, else (3·units,); gates in the order z, r, h.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import GRU
    >>> layer = GRU(4)
    >>> layer(np.ones((2, 5, 3), np.float32)).shape
    (2, 4)
    >>> layer.count_params()
    108
    """

    operation = Operation.named("gru")
    gates = 3

    def __init__(
        self,
        units: int,
        activation: str = "tanh",
        recurrent_activation: str = "sigmoid",
        use_bias: bool = True,
        reset_after: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(units, activation, recurrent_activation, use_bias, **options)
        self.reset_after = reset_after
        self.arguments = {"reset_after": reset_after}

    @property
    def bias_shape(self) -> tuple[int, ...]:
        columns = self.gates * self.units
        return (2, columns) if self.reset_after else (columns,)
