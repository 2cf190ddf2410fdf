"""What old teaching code imports and what is gone or rarely there: the few parts of it that it uses."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["ADDITIONS", "MODULES"]

Array = np.ndarray[Any, Any]
Names = dict[str, Any]


# ---- future and past


def _nothing(*_: Any, **__: Any) -> None:
    """Do nothing: Python 3 has it already."""


def _standard_library() -> Names:
    return dict.fromkeys(("install_aliases", "install_hooks", "remove_hooks"), _nothing)


def _past_builtins() -> Names:
    return {
        "xrange": range,
        "basestring": str,
        "unicode": str,
        "long": int,
        "unichr": chr,
        "raw_input": input,
        "reduce": functools.reduce,
        "cmp": lambda a, b: (a > b) - (a < b),
    }


def _old_div(a: Any, b: Any) -> Any:
    """Divide as Python 2 does."""
    return a // b if isinstance(a, int) and isinstance(b, int) else a / b


def _of_dictionaries() -> Names:
    return {
        "PY2": False,
        "PY3": True,
        "iteritems": lambda d: iter(d.items()),
        "iterkeys": lambda d: iter(d.keys()),
        "itervalues": lambda d: iter(d.values()),
        "string_types": (str,),
        "integer_types": (int,),
    }


# ---- scipy.misc


def imread(name: Any, flatten: bool = False, mode: str | None = None) -> Array:
    """Return the picture of a file, (H, W), (H, W, 3) or (H, W, 4), as `scipy.misc.imread` did."""
    from PIL import Image

    with Image.open(name) as opened:
        picture: Image.Image = opened
        if mode is not None:
            picture = picture.convert(mode)
        elif picture.mode == "P":
            picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
        elif picture.mode == "1":
            picture = picture.convert("L")
        return np.array(picture.convert("F") if flatten else picture)


def imresize(arr: Any, size: Any, interp: str = "bilinear", mode: str | None = None) -> Array:
    """Return a picture of another size, in uint8: a percentage, a fraction, or (H, W)."""
    from PIL import Image

    picture = Image.fromarray(_bytes(np.asarray(arr)), mode)
    if isinstance(size, (int, np.integer)):
        size = size / 100
    if isinstance(size, (float, np.floating)):
        width, height = (int(side * size) for side in picture.size)
    else:
        height, width = size[:2]
    how = {"cubic": "BICUBIC"}.get(interp, interp.upper())
    return np.array(picture.resize((width, height), Image.Resampling[how]))


def imsave(name: Any, arr: Any, format: str | None = None) -> None:
    """Write a picture, its values scaled to 0 ... 255, to a file."""
    from PIL import Image

    Image.fromarray(_bytes(np.asarray(arr))).save(name, format)


def _bytes(values: Array) -> Array:
    if values.dtype == np.uint8:
        return values
    lowest, highest = values.min(), values.max()
    scale = 255.0 / (highest - lowest) if highest > lowest else 0.0
    return ((values - lowest) * scale + 0.5).clip(0, 255).astype(np.uint8)


def _misc() -> Names:
    return {"imread": imread, "imresize": imresize, "imsave": imsave}


# ---- terminaltables and progressbar


class AsciiTable:
    """A table of text: ``AsciiTable([["name"], ["value"]]).table``."""

    def __init__(self, table_data: Sequence[Sequence[Any]], title: str | None = None) -> None:
        self.table_data = table_data
        self.title = title
        self.inner_heading_row_border = True
        self.inner_footing_row_border = False
        self.inner_row_border = False
        self.outer_border = True
        self.justify_columns: dict[int, str] = {}

    @property
    def table(self) -> str:
        """The whole table, borders and all."""
        rows = [[str(cell).splitlines() or [""] for cell in row] for row in self.table_data]
        columns = max((len(row) for row in rows), default=0)
        rows = [row + [[""]] * (columns - len(row)) for row in rows]
        widths = [max(len(line) for row in rows for line in row[i]) for i in range(columns)]
        border = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
        title = self.title or ""
        lines = [border if len(title) > len(border) - 2 else f"+{title}{border[1 + len(title) :]}"]
        for number, row in enumerate(rows):
            lines += self._lines(row, widths)
            if number == 0 < len(rows) - 1 and self.inner_heading_row_border:
                lines.append(border)
        return "\n".join([*lines, border])

    def _lines(self, row: list[list[str]], widths: list[int]) -> Iterator[str]:
        signs = {"left": "<", "right": ">", "center": "^"}
        for line in range(max((len(cell) for cell in row), default=0)):
            texts = []
            for i, (cell, width) in enumerate(zip(row, widths)):
                sign = signs[self.justify_columns.get(i, "left")]
                texts.append(f" {cell[line] if line < len(cell) else '':{sign}{width}} ")
            yield f"|{'|'.join(texts)}|"


class ProgressBar:
    """A progress bar that goes through what it is given and shows nothing."""

    def __init__(self, maxval: Any = None, *_: Any, **options: Any) -> None:
        self.maxval = options.get("max_value", maxval)
        self.currval = 0
        self.finished = False

    def __call__(self, iterable: Iterable[Any]) -> Iterator[Any]:
        """Go through an iterable."""
        return iter(iterable)

    def start(self, *_: Any, **__: Any) -> ProgressBar:
        """Begin."""
        return self

    def update(self, value: int = 0, *_: Any, **__: Any) -> None:
        """Take note of how far it went."""
        self.currval = value

    def finish(self, *_: Any, **__: Any) -> None:
        """End."""
        self.finished = True


class _Widget:
    """A part of a progress bar that is not shown."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take whatever says how it would look."""


def _progressbar() -> Names:
    widgets = (
        "AdaptiveETA Bar BouncingBar Counter ETA FileTransferSpeed FormatLabel Percentage RotatingMarker"
    )
    names: Names = {
        name: type(name, (_Widget,), {}) for name in (*widgets.split(), "SimpleProgress", "Timer")
    }
    return {**names, "ProgressBar": ProgressBar, "UnknownLength": type("UnknownLength", (), {})}


# ---- sklearn.datasets.fetch_mldata


class Bunch(dict[str, Any]):
    """A dictionary whose values are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def fetch_mldata(
    dataname: str,
    target_name: str = "label",
    data_name: str = "data",
    transpose_data: bool = True,
    data_home: str | None = None,
) -> Bunch:
    """Return a data set of mldata.org, which is gone, from this machine; nothing is downloaded.

    It is looked for where scikit-learn kept it, MNIST also where Keras keeps it. In the place of MNIST come,
    with a warning, the 1797 digits of 8x8 pixels that fastdl has, enlarged to 28x28.

    Raises
    ------
    OSError
        If this machine does not have it.
    """
    stem = dataname.lower().replace(" ", "-")
    default = os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")
    home = Path(data_home or default).expanduser()
    file = home / "mldata" / f"{stem}.mat"
    if file.exists():
        from scipy.io import loadmat  # type: ignore[import-untyped]

        found = loadmat(file)
        data = found[data_name].T if transpose_data else found[data_name]
        return Bunch(data=data, target=found[target_name].squeeze(), COL_NAMES=[target_name, data_name])
    if not stem.startswith("mnist"):
        raise OSError(f"fetch_mldata: {dataname!r} is not at {file}, and its server is gone")
    return Bunch(**_mnist(), COL_NAMES=["label", "data"])


def _mnist() -> dict[str, Array]:
    file = Path("~/.keras/datasets/mnist.npz").expanduser()
    if file.exists():
        with np.load(file, allow_pickle=False) as kept:
            images = np.concatenate([kept["x_train"], kept["x_test"]])
            labels = np.concatenate([kept["y_train"], kept["y_test"]])
    else:
        from ..datasets import load_digits

        warnings.warn(
            "MNIST is not on this machine; these are 1797 smaller digits, enlarged",
            RuntimeWarning,
            stacklevel=4,
        )
        (x, labels), _ = load_digits(0.0)
        small = np.round(x[..., 0] * 255).astype(np.uint8)
        images = np.pad(small.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))
    order = np.argsort(labels, kind="stable")
    return {"data": images.reshape(len(images), -1)[order], "target": labels[order].astype(np.float64)}


MODULES: dict[str, Callable[[], Names]] = {
    "future": dict,
    "future.standard_library": _standard_library,
    "future.utils": _of_dictionaries,
    "past": dict,
    "past.builtins": _past_builtins,
    "past.utils": lambda: {"old_div": _old_div},
    "scipy.misc": _misc,
    "terminaltables": lambda: {"AsciiTable": AsciiTable},
    "progressbar": _progressbar,
}
"""What makes the names of each module that may be missing."""

ADDITIONS: dict[str, Callable[[], Names]] = {
    "scipy.misc": _misc,
    "sklearn.datasets": lambda: {"fetch_mldata": fetch_mldata},
}
"""What makes the names that a module which is there may lack."""
