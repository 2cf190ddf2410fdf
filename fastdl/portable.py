"""What a model exchanges with other models and programs, in files."""

from __future__ import annotations

from os import PathLike

from . import checkpoint
from .layers.graph import Graph


class Portable(Graph):
    """A graph of layers whose weights go into files and come out of them."""

    def save_weights(self, path: str | PathLike[str]) -> None:
        """Write the weights to one file, whole or not at all.

        Parameters
        ----------
        path : str or path
            Ends in ".npz" or ".safetensors".

        Raises
        ------
        ValueError
            If the model is not built, or `path` ends otherwise.
        ImportError
            If safetensors is asked for and not installed.
        """
        checkpoint.save_weights(self, path)

    def load_weights(self, path: str | PathLike[str]) -> None:
        """Take the weights from a file: all of them, or none if anything in it does not fit.

        Parameters
        ----------
        path : str or path
            Of a file that `save_weights` or `save` wrote (.npz, .safetensors), or Keras 3 (.weights.h5,
            .keras), or PyTorch, a state dict (.safetensors).

        Raises
        ------
        ValueError
            If the model is not built, or the file is damaged, not one of these, or of another architecture:
            the message names what does not fit. The model is unchanged then.
        ImportError
            If the package that reads the file is not installed.

        Notes
        -----
        Layers are found by their names where the file has the same ones, else by their order. Keras itself
        goes by the order among layers of one class, and so do its files here.

        Arrays of PyTorch are brought into Keras's layout: kernels are transposed, the gates of a GRU
        exchanged, the two biases of an LSTM added, and the rows of a `Dense` behind a `Flatten` put into the
        order of an image with its channels last, if that is what the model has. A file of safetensors does
        not keep the order of modules; where their names do not tell it, give the layers the same names. What
        is no weight is not in the file: a normalisation there has an epsilon of 1e-5, and here of 1e-3.

        Examples
        --------
        >>> import os, tempfile
        >>> from fastdl import Input, Sequential
        >>> from fastdl.layers import Dense
        >>> first, second = (Sequential([Input((4,)), Dense(3)]) for _ in range(2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "weights.npz")
        ...     first.save_weights(path)
        ...     second.load_weights(path)
        >>> bool((second.get_weights()[0] == first.get_weights()[0]).all())
        True
        """
        checkpoint.load_weights(self, path)

    def export(self, filepath: str | PathLike[str], format: str = "onnx") -> None:
        """Write the model as an ONNX file, for other programs to run.

        The file computes what `predict` does, for batches of any size. Its inputs and outputs have the names
        of the model's. Slopes of activations and the epsilon of a normalisation are float32 in ONNX, in a
        model of float64 as well.

        Parameters
        ----------
        filepath : str or path
        format : "onnx"
            No other.

        Raises
        ------
        ValueError
            If the model is not built, or has a layer that has no form in ONNX; the message names it.
        ImportError
            If onnx is not installed.
        """
        from .export import export_onnx

        export_onnx(self, filepath, format)
