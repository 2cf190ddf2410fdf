"""Layers that are connected by symbolic tensors, as one layer."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .. import config, nested
from ..backends import RecycledMemory
from .base import Back, Layer
from .composite import Composite
from .finite import Watched
from .fusion import fused
from .steps import Form, Gradients, Masks, Step
from .symbolic import Call, Tensor


class Graph(Composite):
    """Outputs as a function of inputs, through calls of layers in between.

    A subclass calls `connect`; the layers may be shared with other graphs.

    Attributes
    ----------
    calls : list of Call
        In an order to compute in.
    fused_calls : list of Call
        Those that inference computes in the pass of the call before; see `fusion`.
    """

    calls: Sequence[Call] = ()
    fused_calls: Sequence[Call] = ()
    _inputs: Any = ()
    _outputs: Any = ()
    _steps: Sequence[Step] = ()
    _inference: Sequence[Step] = ()
    _training: Sequence[Step] = ()

    def connect(self, inputs: Any, outputs: Any) -> list[Layer]:
        """Take the graph between symbolic tensors as one's own, and return its layers in Keras's order.

        Parameters
        ----------
        inputs, outputs : Tensor or group of Tensor
            A tuple counts as a list; a dict is taken in the order of its keys, as in Keras.

        Raises
        ------
        TypeError
            If one is not a symbolic tensor.
        ValueError
            If an output depends on an `Input` that is not among the inputs, or an input leads nowhere. The
            graph of before is kept then.
        """
        inputs, outputs = _ordered(inputs), _ordered(outputs)
        sources, results = nested.parts(inputs), nested.parts(outputs)
        for what, tensors in (("inputs", sources), ("outputs", results)):
            if not tensors:
                raise ValueError(f"{self.name}: {what} must hold at least one symbolic tensor")
            for tensor in tensors:
                if not isinstance(tensor, Tensor):
                    raise TypeError(f"{self.name}: {what} must be symbolic tensors; got {tensor!r}")
        if len(set(sources)) < len(sources):
            raise ValueError(f"{self.name}: an input is given twice")
        calls = self._calls_between(sources, results)
        self.calls = sorted(calls, key=lambda call: call.number)
        self._inputs, self._outputs = inputs, outputs
        self._steps = self._planned()
        return _in_keras_order(calls)

    def _calls_between(self, sources: Sequence[Tensor], results: Sequence[Tensor]) -> list[Call]:
        """Return the calls that the results depend on, as they are met on the way back from the results."""
        waiting = list(reversed(results))
        calls: dict[Call, None] = {}
        reached = set()
        while waiting:
            tensor = waiting.pop()
            if tensor in sources:
                reached.add(tensor)
            elif tensor.call is None:
                raise ValueError(
                    f"{self.name}: the outputs depend on the Input {tensor.name!r}, not among the inputs"
                )
            elif tensor.call not in calls:
                calls[tensor.call] = None
                waiting += reversed(tensor.call.reads)
        for tensor in sources:
            if tensor not in reached:
                raise ValueError(f"{self.name}: no output depends on the input {tensor.name!r}")
        return list(calls)

    def _planned(self) -> list[Step]:
        """Return the calls as steps, and note which place each tensor has."""
        places = {tensor: place for place, tensor in enumerate(self.inputs)}
        numbers = itertools.count(len(places))

        def new_place(tensor: Tensor) -> int:
            place = next(numbers)
            places.setdefault(tensor, place)  # what is given as an input is not computed, too
            return place

        ways = []
        for call in self.calls:
            reads = nested.apply(places.__getitem__, call.inputs)
            mask = None if call.mask is None else places[call.mask]
            ways.append((call, reads, mask, nested.apply(new_place, call.outputs)))
        self._size = next(numbers)
        self._result_places = [places[tensor] for tensor in self.outputs]

        steps: list[Step] = []
        needed = set(self._result_places)
        for call, reads, mask, writes in reversed(ways):
            sources, targets = nested.parts(reads), nested.parts(writes)
            drops = sorted({*sources, *([] if mask is None else [mask])} - needed)
            needed.update(drops)
            layer, makes_mask = call.layer, call.layer.makes_mask
            steps.append(Step(layer, reads, writes, sources, targets, call.training, mask, makes_mask, drops))
        steps.reverse()
        self.makes_mask = any(step.makes_mask for step in steps)

        readers = {step.reads: step.layer for step in reversed(steps) if type(step.reads) is int}
        self._entrances = [readers.get(place) for place in range(len(self.inputs))]
        uses = Counter(self._result_places) + Counter(place for step in steps for place in step.sources)
        writers = {step.writes: step.layer for step in steps if type(step.writes) is int}
        self._inference, self.fused_calls = fused(steps, self.calls, uses, training=False)
        self._training, _ = fused(steps, self.calls, uses, training=True)
        self._ends = [writers.get(place) if uses[place] == 1 else None for place in self._result_places]
        return steps

    # -- what it consists of -----------------------------------------------------------------------

    @property
    def input(self) -> Any:
        """The symbolic tensors it begins with, as they were given."""
        return self._inputs

    @property
    def output(self) -> Any:
        """The symbolic tensors it ends with, as they were given."""
        return self._outputs

    @property
    def inputs(self) -> list[Tensor]:
        """The symbolic tensors it begins with."""
        return nested.parts(self._inputs)

    @property
    def outputs(self) -> list[Tensor]:
        """The symbolic tensors it ends with."""
        return nested.parts(self._outputs)

    @property
    def input_names(self) -> list[str]:
        """The keys of the inputs where they were given as a dict, else their names."""
        return _names(self._inputs)

    @property
    def output_names(self) -> list[str]:
        """The keys of the outputs where they were given as a dict, else the names of their layers."""
        return _names(self._outputs)

    @property
    def final_activations(self) -> list[str]:
        """For each output what `final_activation` is for a layer of one."""
        return [end.final_activation if end else "linear" for end in self._ends]

    @property
    def final_activation(self) -> str:
        activations = self.final_activations
        return activations[0] if len(activations) == 1 else "linear"

    # -- running -----------------------------------------------------------------------------------

    def accept(self, x: Any) -> Any:
        """Return the arrays for the inputs: one as it is, several as a list."""
        alone = isinstance(self._inputs, Tensor)
        if alone and type(x) is np.ndarray:
            return self._entered(self._inputs, self._entrances[0], x)
        given = nested.arrange(f"{self.name}: x", x, self.input_names, alone=alone)
        arrays = [self._entered(*each) for each in zip(self.inputs, self._entrances, given)]
        return arrays[0] if len(arrays) == 1 else arrays

    def _entered(self, tensor: Tensor, entrance: Layer | None, array: Any) -> Any:
        """Return what was given for an input as the first layer accepts it, where there is one."""
        dtype = getattr(tensor, "dtype", None)
        if dtype is not None:
            array = np.asarray(array, dtype)
        if entrance is not None:
            return entrance.accept(array)
        return self.as_floats(array) if dtype is None or dtype.kind == "f" else array

    def compute_output_shape(self, input_shape: Any) -> Any:
        self.build(input_shape)
        given = [input_shape] if isinstance(input_shape, tuple) else input_shape
        shapes: list[Any] = [None] * self._size
        shapes[: len(self.inputs)] = nested.arrange(f"{self.name}: input_shape", given, self.input_names)
        for step in self._steps:
            step.write(shapes, step.layer.compute_output_shape(step.read(shapes)))
        return self._results(shapes)

    def call(self, x: Any, mask: Any = None) -> Any:
        values, _ = self._run(x, mask)
        return self._results(values)

    def masked_call(self, x: Any, training: bool = False, *, mask: Any = None) -> tuple[Any, Any]:
        if training:
            return self.masked_vjp(x, mask=mask)[::2]
        values, masks = self._run(self.accept(x), mask)
        return self._results(values), self._result_masks(masks)

    def _run(self, x: Any, mask: Any) -> tuple[list[Any], Masks]:
        """Return the values and masks of the outputs in their places, for inference."""
        values, masks = self._begin(x, mask)
        with RecycledMemory():
            for step in self._to_take(self._inference, masks):
                step.call(values, masks, bool(step.training))
        return values, masks

    def _to_take(self, fewer: Sequence[Step], masks: Masks) -> Sequence[Step]:
        """Return the steps, in fewer passes unless somebody looks at what is between them.

        These are masks, and ``use(check_finite=True)``, which has each layer watched.
        """
        if config.current().check_finite:
            return [replace(step, layer=Watched(step.layer)) for step in self._steps]
        return self._steps if masks or self.makes_mask else fewer

    def vjp(self, x: Any, training: bool = True, mask: Any = None) -> tuple[Any, Back]:
        return self.masked_vjp(x, training, mask=mask)[:2]

    def partial_vjp(
        self,
        x: Any,
        training: bool = True,
        *,
        wants_dx: bool = True,
        logits: bool | Sequence[bool] = False,
        mask: Any = None,
    ) -> tuple[Any, Back]:
        """Return what `vjp` does, less what a trainer has no use for; see `masked_vjp`."""
        return self.masked_vjp(x, training, mask=mask, wants_dx=wants_dx, logits=logits)[:2]

    def masked_vjp(
        self,
        x: Any,
        training: bool = True,
        *,
        mask: Any = None,
        wants_dx: bool = True,
        logits: bool | Sequence[bool] = False,
    ) -> tuple[Any, Back, Any]:
        """Return the output, its vector-Jacobian product, and its mask.

        Parameters
        ----------
        x, training, wants_dx
            As for `Layer.partial_vjp`.
        mask : array, or a group of them for several inputs, optional
            Which steps of x count.
        logits : bool or sequence of bool
            For each output, or for all. In dy, None stands for an output that counts for nothing.
        """
        asked = [logits] * len(self._result_places) if isinstance(logits, bool) else logits
        unfinished = [place for place, ends in zip(self._result_places, asked) if ends]
        values, masks = self._begin(x, mask)
        entered = _forms(x)
        wanted = [wants_dx] * len(entered) + [False] * (self._size - len(entered))
        trail: list[tuple[Step, Back, list[Form]]] = []
        for step in self._to_take(self._training, masks):
            mode = training if step.training is None else step.training
            wants = True in [wanted[place] for place in step.sources]
            ends = step.writes in unfinished
            if not (wants or ends or step.layer.learns):
                step.call(values, masks, mode)
                continue
            y, back = step.vjp(values, masks, mode, wants_dx=wants, logits=ends)
            for place in step.targets:
                wanted[place] = True
            trail.append((step, back, _forms(y)))
        trail.reverse()

        def back_through(dy: Any) -> Any:
            gradients = Gradients(wanted)
            gradients.add(self._result_places, self._arranged(dy))
            for step, back, forms in trail:
                if gradients.any_at(step.targets):
                    dy = nested.rebuild(step.writes, gradients.take(step.targets, forms))
                    dx = back(dy)
                    gradients.add(step.sources, [dx] if type(step.reads) is int else nested.parts(dx))
            if not wants_dx:
                return None
            return nested.rebuild(self._inputs, gradients.take(range(len(entered)), entered))

        return self._results(values), back_through, self._result_masks(masks)

    def _begin(self, x: Any, mask: Any) -> tuple[list[Any], Masks]:
        """Return the values with the inputs in their places, and the masks of the inputs."""
        values: list[Any] = [None] * self._size
        values[: len(self.inputs)] = nested.parts(x)
        if mask is None:
            return values, {}
        given = nested.arrange(f"{self.name}: mask", mask, self.input_names, alone=len(self.inputs) == 1)
        return values, {place: np.asarray(one, bool) for place, one in enumerate(given) if one is not None}

    def _results(self, values: list[Any]) -> Any:
        return nested.rebuild(self._outputs, [values[place] for place in self._result_places])

    def _result_masks(self, masks: Masks) -> Any:
        """Return the mask of the output, or a list of those of several; None if there is none."""
        found = [masks.get(place) for place in self._result_places]
        if all(mask is None for mask in found):
            return None
        return found[0] if isinstance(self._outputs, Tensor) else found

    def _arranged(self, dy: Any) -> list[Any]:
        alone = isinstance(self._outputs, Tensor)
        return nested.arrange(f"{self.name}: dy", dy, self.output_names, alone=alone)


def _forms(y: Any) -> list[Form]:
    """Return shape and dtype of an array, or of each in a group."""
    if type(y) is np.ndarray:
        return [(y.shape, y.dtype)]
    return [(part.shape, part.dtype) for part in nested.parts(y)]


def _ordered(tensors: Any) -> Any:
    """Return a group of tensors as a list, or a dict in the order of its keys."""
    if isinstance(tensors, dict):
        return {name: tensors[name] for name in sorted(tensors)}
    return list(tensors) if isinstance(tensors, tuple) else tensors


def _names(tensors: Any) -> list[str]:
    """Return the keys of a dict of tensors, or the names of each, numbered where they come again."""
    if isinstance(tensors, dict):
        return list(tensors)
    names: list[str] = []
    for tensor in nested.parts(tensors):
        name, numbers = tensor.name, itertools.count(1)
        while name in names:
            name = f"{tensor.name}_{next(numbers)}"
        names.append(name)
    return names


def _in_keras_order(calls: Sequence[Call]) -> list[Layer]:
    """Return the layers, those farthest from the outputs first.

    Among equals comes first what is met first on the way back from the outputs, which is the order of
    `calls`.
    """
    depths: dict[Layer, int] = {}
    inside = set(calls)
    for call in sorted(calls, key=lambda call: -call.number):
        depth = depths.setdefault(call.layer, 0)
        for tensor in call.reads:
            if tensor.call in inside:
                above = tensor.call.layer
                depths[above] = max(depths.get(above, 0), depth + 1)
    layers = list(dict.fromkeys(call.layer for call in calls))
    return sorted(layers, key=lambda layer: -depths[layer])
