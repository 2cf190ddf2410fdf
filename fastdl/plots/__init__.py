"""Pictures of training, of what a network does, and of the network; for those who have matplotlib.

Every function returns a ``matplotlib.figure.Figure``, and saves it where it is given a path. None shows
anything, and none touches the figures that ``pyplot`` keeps: with `ax` a picture becomes part of one of
those. In a notebook a figure at the end of a cell is shown once ``%matplotlib inline`` has run.
"""

from __future__ import annotations

from .confusion import confusion_matrix, count_confusions
from .history import plot_history
from .images import feature_maps, filters, image_grid
from .model import plot_model

__all__ = [
    "confusion_matrix",
    "count_confusions",
    "feature_maps",
    "filters",
    "image_grid",
    "plot_history",
    "plot_model",
]
