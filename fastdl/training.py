"""Going over batches and epochs: compile, fit, evaluate, predict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from os import PathLike
from typing import Any

import numpy as np

from . import batches, checkpoint, checks, nested, optimizers, prediction, step, summary
from . import callbacks as callbacks_
from .batches import Batch
from .epochs import run as run_epochs
from .feed import Feed, Source, as_pair, memory
from .layers.base import Layer, Shape
from .objective import Objective
from .portable import Portable

Verbose = int | str


class Trainer(Portable):
    """A graph of layers that can be trained, tabulated and saved."""

    optimizer: optimizers.Optimizer | None = None
    objective: Objective | None = None
    history: callbacks_.History | None = None
    stop_training = False

    # Which layers were trainable when the model was compiled: what happens to them later, for the sake of
    # another model that contains them, changes nothing for this one.
    compiled_trainable: Mapping[Layer, bool]

    def compile(
        self,
        optimizer: str | optimizers.Optimizer | type[optimizers.Optimizer] = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
    ) -> None:
        """Choose how to train, and what: the layers that are `trainable` now.

        A layer that is frozen later, while another model is compiled that contains it, is still trained by
        this one. In a model of several outputs each argument may be a list or a dict with an entry for each.

        Parameters
        ----------
        optimizer : str or Optimizer
        loss : str, Loss or function, or a group of them
            A function takes y_true and y_pred and returns the loss and its gradient; see
            `losses.FunctionLoss`. One alone is that of every output; None is no loss.
        loss_weights : group of float, optional
            How much each output's loss counts in the sum; 1 by default.
        metrics : list of str, Metric or function, or a group of such lists, optional
            To report beside the loss. "accuracy" is the one that fits the shapes.

        Raises
        ------
        ValueError
            For a name that is not known, which lists those that are; if the entries are not as many as the
            outputs.
        """
        objective = Objective(self.output_names, loss, loss_weights, metrics)
        self.optimizer = optimizers.get(optimizer)
        self.objective = objective
        self.compiled_trainable = {leaf: leaf.trainable for _, leaf in self.leaves()}

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Verbose = "auto",
        callbacks: Sequence[callbacks_.Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
    ) -> callbacks_.History:
        """Train on samples.

        Parameters
        ----------
        x : array_like, (N, ...), or a list, tuple or dict of them
            In the form of the model's inputs; a dict goes by their names. Or any iterable of batches (x, y)
            or (x, y, sample_weight), such as a generator: without `y`, and without the arguments that divide
            or weigh arrays. Batches of an iterable, and of `numpy.memmap`, are fetched on another thread
            while the model is trained with those before.
        y : array_like, (N, ...), or a list, tuple or dict of them
            One for each output; None where the output has neither loss nor metrics.
        batch_size : int, optional
            32 by default. The last batch of an epoch may be smaller.
        epochs : int
            The last epoch's number; with `initial_epoch` fewer are run.
        verbose : {"auto", 0, 1, 2}
            0 is silent, 1 shows a bar an epoch (where tqdm is installed), 2 prints a line an epoch; "auto"
            is 1.
        callbacks : sequence of Callback, optional
        validation_split : float
            Fraction of the samples, in [0, 1), to validate with and not to train on: the last ones, before
            shuffling.
        validation_data : (x, y) or (x, y, sample_weight), or an iterable of batches, optional
            To validate with instead.
        shuffle : bool
            Whether each epoch takes the samples in another order; see `fastdl.set_random_seed`.
        class_weight : dict of int to float, optional
            Weights of samples by their class; a class that is missing has weight 1.
        sample_weight : array_like, (N,), or a group of them, optional
            Weights of the samples in the loss; with several outputs it may be a list or dict of them.
        initial_epoch : int
            Number of the first epoch, from 0.
        steps_per_epoch, validation_steps : int, optional
            How many batches of an iterable are an epoch, or a validation; by default all there are.
        validation_batch_size : int, optional
            By default `batch_size`.

        Returns
        -------
        History
            Its `history` holds, for each name, a number an epoch: the mean over the epoch's samples, each
            taken when its batch was trained. Several outputs, such as "a" and "b", add "a_loss" and "b_loss"
            without their weights, and put their names before those of their metrics.

        Raises
        ------
        RuntimeError
            If the model is not compiled, or an iterable raises an exception, which is its cause.
        ValueError, TypeError
            If the arguments do not fit the model or each other, if an iterable ends early, or if the loss of
            a batch is NaN or infinite; the model is then as it was before that batch.
        """
        self._require("fit")
        batch_size = checks.integer("fit", "batch_size", 32 if batch_size is None else batch_size)
        epochs = checks.integer("fit", "epochs", epochs, minimum=0)
        initial_epoch = checks.integer("fit", "initial_epoch", initial_epoch, minimum=0)
        counts = {"steps_per_epoch": steps_per_epoch, "validation_steps": validation_steps}
        for name, count in (counts | {"validation_batch_size": validation_batch_size}).items():
            if count is not None:
                checks.integer("fit", name, count)
        watchers = callbacks_.attached("fit", self, callbacks)
        test_size = validation_batch_size or batch_size
        validation = None
        if y is None:
            if validation_split or class_weight is not None or sample_weight is not None:
                raise ValueError(
                    "fit: validation_split, class_weight and sample_weight are for arrays; an iterable of"
                    " batches may give (x, y, sample_weight)"
                )
            train = self._stream(Feed("fit", x, steps_per_epoch, epochs - initial_epoch))
        else:
            if steps_per_epoch is not None:
                raise ValueError("fit: steps_per_epoch is for an iterable of batches; x and y are arrays")
            data = self._data("fit", x, y, sample_weight, class_weight)
            if validation_split and validation_data is None:
                data, held_out = data.split(validation_split)
                validation = memory(held_out, test_size)
            train = memory(data, batch_size, self._rng if shuffle else None)
        if isinstance(validation_data, tuple) or _is_pair(validation_data):
            if len(validation_data) not in (2, 3):
                raise ValueError("fit: validation_data must be (x, y) or (x, y, sample_weight)")
            if validation_steps is not None:
                raise ValueError("fit: validation_steps is for an iterable of batches")
            validation = memory(self._data("fit: validation_data", *validation_data), test_size)
        elif validation_data is not None:
            source = "fit: validation_data"
            validation = self._stream(Feed(source, validation_data, validation_steps, epochs - initial_epoch))
        numbers = range(initial_epoch, epochs)
        return run_epochs(self, train, validation, numbers, verbose, watchers)

    def train_on_batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Take one step with a batch; return its loss and metrics before the step, as `evaluate` does."""
        self._require("train_on_batch")
        batch = self._data("train_on_batch", x, y, sample_weight, class_weight)
        self.goals.start()
        return _results(step.take(self, batch, "train_on_batch"), return_dict)

    def test_on_batch(self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Return the loss and the metrics of a batch as `evaluate` does."""
        self._require("test_on_batch")
        batch = self._data("test_on_batch", x, y, sample_weight)
        return _results(step.judge(self, memory(batch, batch.size)), return_dict)

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Sequence[callbacks_.Callback] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Return the loss and the metrics over samples.

        Parameters
        ----------
        x, y, sample_weight
            As for `fit`.
        batch_size : int, optional
            32 by default; it changes the memory that is needed, not the result.
        verbose : {"auto", 0, 1, 2}
            Whether to print the result, too.
        steps : int, optional
            How many batches of an iterable to take; by default all there are.
        callbacks : sequence of Callback, optional
            Of which `on_test_begin` and the like are called.
        return_dict : bool
            Whether to return a dict by name.

        Returns
        -------
        float, list of float or dict
            The loss alone if there are no metrics, else a list that begins with it.
        """
        self._require("evaluate")
        checks.verbosity("evaluate", verbose)
        watchers = callbacks_.attached("evaluate", self, callbacks)
        batch_size = checks.integer("evaluate", "batch_size", 32 if batch_size is None else batch_size)
        if y is None:
            source = self._stream(Feed("evaluate", x, steps))
        else:
            source = memory(self._data("evaluate", x, y, sample_weight), batch_size)
        logs = step.judge(self, source, watchers=watchers)
        if verbose:
            print(callbacks_.describe_logs(logs), flush=True)
        return _results(logs, return_dict)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
        steps: int | None = None,
        callbacks: Sequence[callbacks_.Callback] | None = None,
    ) -> Any:
        """Return the outputs for samples.

        Of samples only a batch at a time is read and converted: a `numpy.memmap`, or anything else that has a
        shape and gives slices, may be larger than memory.

        Parameters
        ----------
        x : array_like, (N, ...), or a list, tuple or dict of them
            In the form of the model's inputs. Or an iterable of batches of that, such as a generator; of a
            batch that is a tuple the first entry counts, so that what `fit` takes will do.
        batch_size : int, optional
            32 by default; it changes the memory that is needed, not the result.
        verbose : {"auto", 0, 1, 2}
            1 shows a bar, where tqdm is installed; the others show nothing.
        steps : int, optional
            How many batches to take; by default all there are.
        callbacks : sequence of Callback, optional
            Of which `on_predict_begin` and the like are called.

        Returns
        -------
        ndarray, (N, ...), or several in the form of the model's outputs

        Raises
        ------
        ValueError, TypeError
            If x does not fit the model, or an iterable ends before `steps` batches.
        RuntimeError
            If an iterable raises an exception, which is its cause.
        """
        batch_size = checks.integer("predict", "batch_size", 32 if batch_size is None else batch_size)
        if steps is not None:
            steps = checks.integer("predict", "steps", steps)
        checks.verbosity("predict", verbose)
        watchers = callbacks_.attached("predict", self, callbacks)
        return prediction.run(self, x, batch_size, verbose, steps, watchers)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs for one batch."""
        return self(x)

    # -- arguments ---------------------------------------------------------------------------------

    @property
    def goals(self) -> Objective:
        """What the outputs are held against."""
        assert self.objective is not None
        return self.objective

    def _require(self, op: str) -> None:
        if self.objective is None or self.objective.is_empty:
            raise RuntimeError(
                f"{op}: the model has no loss and optimizer yet; call compile(optimizer, loss) first"
            )

    def _data(
        self,
        op: str,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
    ) -> Batch:
        """Return the samples as arrays that the model takes."""
        optional = [goal.loss is None and not goal.metrics for goal in self.goals.goals]
        return batches.gather(
            op, self.output_names, optional, self._in_reach(x), y, sample_weight, class_weight
        )

    def _in_reach(self, x: Any) -> Any:
        """Return `x` as the model takes it, but leave files where they are: their batches are converted."""
        if not any(isinstance(part, np.memmap) for part in nested.parts(x)):
            return self.accept(x)
        self.accept(nested.apply(itemgetter(slice(1)), x))
        return x

    def _stream(self, feed: Feed) -> Source:
        """Return the batches of an iterable, each checked when its turn comes."""

        def checked(place: str, batch: Any) -> Batch:
            try:
                return self._data(place, *as_pair(place, batch))
            except (ValueError, TypeError) as error:
                if str(error).startswith(place):
                    raise
                checks.retell(error, f"{place}: {error}")

        return Source(feed.steps, lambda number: (checked(*given) for given in feed.epoch(number)))

    def accept(self, x: Any) -> Any:
        x = super().accept(x)
        self.check_shapes([array.shape for array in nested.parts(x)])
        return x

    def check_shapes(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Refuse input of shapes that are not those of the model's inputs."""
        for came, tensor in zip(shapes, self.inputs):
            if came[1:] != tensor.shape[1:] and not _fits(came, tensor.shape):
                raise ValueError(
                    f"{self.name}: x has shape {', '.join(map(str, shapes))}, but the model expects"
                    f" {', '.join(str(tensor.shape) for tensor in self.inputs)}"
                )

    # -- what it is --------------------------------------------------------------------------------

    @property
    def input_shape(self) -> Any:
        """The shape of a batch, whose first size is None, or a group of shapes; None before it is known."""
        return nested.apply(lambda tensor: tensor.shape, self.input) if self.built else None

    @property
    def output_shape(self) -> Any:
        """The shape of what a batch gives, or a group of shapes; None before the model is built."""
        return nested.apply(lambda tensor: tensor.shape, self.output) if self.built else None

    def get_layer(self, name: str) -> Layer:
        """Return the layer of that name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = ", ".join(layer.name for layer in self.layers)
        raise ValueError(f"{self.name}: there is no layer {name!r}; there are {names}")

    def compiled_models(self, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Trainer]]:
        """Yield this model and those in it, as far as they are compiled, with the names that lead to them."""
        if self.objective is not None:
            yield path, self
        for layer in self.layers:
            if isinstance(layer, Trainer):
                yield from layer.compiled_models((*path, layer.name))

    def summary(self, line_length: int = 80, print_fn: Callable[[str], Any] = print) -> None:
        """Print a table of the layers, the shapes of their outputs and their numbers of parameters.

        Where the layers are more than a line, a column says what each is connected to. A plus is before
        those that inference computes in the pass of another one.

        Parameters
        ----------
        line_length : int
        print_fn : callable
            Is given the table line by line.
        """
        if not self.built:
            raise ValueError(
                f"{self.name}: summary needs a built model; begin it with an Input, or run it once"
            )
        summary.print_summary(self, line_length, print_fn)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the architecture, the weights and the state of training to one file.

        Training goes on from there bit for bit; see `fastdl.checkpoint`.
        """
        checkpoint.save_model(self, path)


def _fits(shape: tuple[int, ...], expected: Shape) -> bool:
    return len(shape) == len(expected) and all(
        wanted in (None, came) for came, wanted in zip(shape, expected)
    )


def _is_pair(given: Any) -> bool:
    """Whether a list is x and y, and not one of batches."""
    return isinstance(given, list) and len(given) in (2, 3) and not isinstance(given[0], tuple)


def _results(logs: callbacks_.Logs, return_dict: bool) -> Any:
    if return_dict:
        return logs
    values = list(logs.values())
    return values if len(values) > 1 else values[0]
