"""Where the boxes of a graph go, and the lines between them.

The graph is drawn in layers, after Sugiyama, Tagawa and Toda (https://doi.org/10.1109/TSMC.1981.4308636):
each box has a rank, one more than the highest of those it reads, and a line that passes a rank without
stopping has a place of its own there, so that no line crosses a box.

What differs is made for networks, which are long: boxes and places that follow one another form a *column*,
which stands upright as a whole. The trunk of a residual network is one column, and each skip connection is
another one beside it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple, TypeAlias

Point: TypeAlias = tuple[float, float]

# All lengths are in points.
BETWEEN_BOXES = 16.0
BETWEEN_LINES = 10.0
BETWEEN_RANKS = 20.0
PORT_PITCH = 9.0

_CROSSING = 5.0  # costs as much as lines that are longer by so many columns
_LEFT_OF_BOTH_ENDS = 3.0  # so that skip connections run at one side


class Box(NamedTuple):
    """What a box needs.

    Attributes
    ----------
    width, height : float
    anchor : float
        How far from its left edge the box is held by its column.
    """

    width: float
    height: float
    anchor: float


class Line(NamedTuple):
    """A line from one box to a later one, by their numbers.

    Attributes
    ----------
    source, target : int
    leaves, enters : float or None
        How far from the anchor it touches a box; None where that does not matter.
    """

    source: int
    target: int
    leaves: float | None = None
    enters: float | None = None


@dataclass
class Layout:
    """The finished drawing.

    Attributes
    ----------
    width, height : float
    corners : list of (x, y)
        The upper left one of each box; y goes down.
    routes : list of list of (x, y)
        Of each line: straight from the first point to the second, a curve to the third, straight to the
        fourth, and so on; both ends of a curve are vertical.
    """

    width: float
    height: float
    corners: list[Point]
    routes: list[list[Point]]


@dataclass
class _Column:
    """Boxes, or places of one line, at consecutive ranks.

    Attributes
    ----------
    first : int
        The rank of the first.
    boxes : list of int
        Their numbers; none if it is of a line.
    extents : list of (left, right)
        The room at each rank, from the axis of the column.
    gap : float
        The room to the next column.
    """

    first: int
    extents: list[Point]
    gap: float
    boxes: list[int] = field(default_factory=list)
    x: float = 0.0

    @property
    def ranks(self) -> range:
        return range(self.first, self.first + len(self.extents))


class _Segment(NamedTuple):
    """A piece of a line, from a column at rank `gap` to one at the next rank."""

    gap: int
    above: int
    below: int


def lay_out(boxes: Sequence[Box], lines: Sequence[Line]) -> Layout:
    """Return where boxes and lines go.

    Parameters
    ----------
    boxes : sequence of Box
        In an order in which no line goes back.
    lines : sequence of Line

    Examples
    --------
    >>> layout = lay_out([Box(40, 20, 20)] * 3, [Line(0, 1), Line(1, 2), Line(0, 2)])
    >>> [x for x, y in layout.corners]  # one below the other, the third line passes at the right
    [0.0, 0.0, 0.0]
    """
    ranks = _ranks(len(boxes), lines)
    columns, ways = _columns(boxes, lines, ranks)
    segments = [
        _Segment(ranks[line.source] + i, *pair)
        for line, way in zip(lines, ways)
        for i, pair in enumerate(zip(way, way[1:]))
    ]
    order = _ordered(columns, segments)
    _place(columns, order, segments)

    left = min(column.x - before for column in columns for before, _ in column.extents)
    width = max(column.x + after for column in columns for _, after in column.extents) - left
    for column in columns:
        column.x -= left
    tops, bottoms = _bands(boxes, ranks, columns, segments)

    corners: list[Point] = [(0.0, 0.0)] * len(boxes)
    axes = [0.0] * len(boxes)
    for column in columns:
        for number in column.boxes:
            box, rank = boxes[number], ranks[number]
            axes[number] = column.x
            corners[number] = (column.x - box.anchor, (tops[rank] + bottoms[rank] - box.height) / 2)

    entries = _entries(boxes, lines, ways, columns, axes)
    routes = []
    for line, way, entry in zip(lines, ways, entries):
        rank = ranks[line.source]
        x = axes[line.source] + (line.leaves or 0.0)
        route = [(x, corners[line.source][1] + boxes[line.source].height), (x, bottoms[rank])]
        for passed in way[1:-1]:
            rank += 1
            route += [(columns[passed].x, tops[rank]), (columns[passed].x, bottoms[rank])]
        routes.append([*route, (entry, tops[rank + 1]), (entry, corners[line.target][1])])
    return Layout(width, bottoms[-1], corners, routes)


# ---- rank by rank


def _ranks(count: int, lines: Sequence[Line]) -> list[int]:
    """Return the rank of each box: below all that it reads; what begins late is close to where it is read."""
    ranks = [0] * count
    sources, targets = defaultdict(list), defaultdict(list)
    for line in lines:
        sources[line.target].append(line.source)
        targets[line.source].append(line.target)
    for number in range(count):
        ranks[number] = max((ranks[source] + 1 for source in sources[number]), default=0)

    # Nothing holds an input at the top, nor a line of boxes that hangs from one.
    is_free = [False] * count
    for number in range(count):
        above = sources[number]
        is_free[number] = not above or (len(above) == 1 and is_free[above[0]] and len(targets[above[0]]) == 1)
    for number in reversed(range(count)):
        if is_free[number] and targets[number]:
            ranks[number] = min(ranks[target] for target in targets[number]) - 1
    return ranks


def _columns(
    boxes: Sequence[Box], lines: Sequence[Line], ranks: Sequence[int]
) -> tuple[list[_Column], list[list[int]]]:
    """Return the columns, and for each line those that it goes through, with both ends."""
    above, below = defaultdict(set), defaultdict(set)
    heights = [0] * len(boxes)
    for line in sorted(lines, key=lambda line: -line.source):
        heights[line.source] = max(heights[line.source], heights[line.target] + 1)
        if ranks[line.target] == ranks[line.source] + 1:
            above[line.target].add(line.source)
            below[line.source].add(line.target)

    columns: list[_Column] = []
    column_of = [0] * len(boxes)
    for number, box in enumerate(boxes):
        extent = (box.anchor, box.width - box.anchor)
        if len(above[number]) == 1:
            (before,) = above[number]
            # Where ways part, the longest one goes straight on; where two are equally long, neither does.
            longest = max(heights[other] for other in below[before])
            straight = [other for other in below[before] if heights[other] == longest]
            if straight == [number]:
                column_of[number] = column_of[before]
                columns[column_of[number]].extents.append(extent)
                columns[column_of[number]].boxes.append(number)
                continue
        column_of[number] = len(columns)
        columns.append(_Column(ranks[number], [extent], BETWEEN_BOXES, [number]))

    leaving = Counter(line.source for line in lines)
    ways = []
    for line in lines:
        start, end = column_of[line.source], column_of[line.target]
        passed = ranks[line.target] - ranks[line.source] - 1
        if passed:
            places = [(0.0, 0.0)] * passed
            if leaving[line.source] == 1:  # the only way on: straight down
                middle = start
                columns[start].extents += places
            else:
                middle = len(columns)
                columns.append(_Column(ranks[line.source] + 1, places, BETWEEN_LINES))
            ways.append([start, *[middle] * passed, end])
        else:
            ways.append([start, end])
    return columns, ways


# ---- from left to right


def _ordered(columns: Sequence[_Column], segments: Sequence[_Segment]) -> list[int]:
    """Return the columns from left to right, such that there are few crossings and short lines.

    Boxes begin in the order in which their layers were called. One column after another is moved to where it
    is best, but stays where nothing else is better.
    """
    at_gap = defaultdict(list)
    present = defaultdict(set)  # the columns that a line in a gap may have to pass
    ends = defaultdict(set)
    for segment in segments:
        at_gap[segment.gap].append(segment)
        ends[segment.above].add(segment.below)
        ends[segment.below].add(segment.above)
    for number, column in enumerate(columns):
        for gap in range(column.first - 1, column.ranks.stop):
            present[gap].add(number)

    def cost(number: int, order: Sequence[int]) -> float:
        """Return what the order costs in the gaps where the column is."""
        total = 0.0
        if not columns[number].boxes:
            places = {column: place for place, column in enumerate(order)}
            total += _LEFT_OF_BOTH_ENDS * all(places[number] < places[end] for end in ends[number] - {number})
        for gap in range(columns[number].first - 1, columns[number].ranks.stop):
            places = {column: place for place, column in enumerate(filter(present[gap].__contains__, order))}
            pairs = [(places[segment.above], places[segment.below]) for segment in at_gap[gap]]
            total += sum(abs(above - below) for above, below in pairs)
            crossings = sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for a, b in combinations(pairs, 2))
            total += _CROSSING * crossings
        return total

    boxes = [number for number, column in enumerate(columns) if column.boxes]
    lines = [number for number, column in enumerate(columns) if not column.boxes]
    lines.sort(key=lambda number: len(columns[number].extents))
    order = [*boxes, *lines]
    joints_first = sorted(boxes, key=lambda number: -len(ends[number]))
    for number in [*joints_first, *reversed(lines)] * 2:
        others = [column for column in order if column != number]
        moved = ([*others[:place], number, *others[place:]] for place in range(len(others), -1, -1))
        order = min([order, *moved], key=lambda candidate: cost(number, candidate))
    return order


def _place(columns: Sequence[_Column], order: Sequence[int], segments: Sequence[_Segment]) -> None:
    """Give each column its x: halfway between as far left and as far right as can be, then near its lines."""
    neighbours = _neighbours(columns, order)
    for number in order:
        columns[number].x = _bounds(columns, number, neighbours, 0.0, 0.0)[0]
    width = max(column.x + after for column in columns for _, after in column.extents)
    leftmost = [column.x for column in columns]
    for number in reversed(order):
        columns[number].x = _bounds(columns, number, neighbours, 0.0, width)[1]
    for column, x in zip(columns, leftmost):
        column.x = (column.x + x) / 2

    attached = defaultdict(list)
    for segment in segments:
        if segment.above != segment.below:
            attached[segment.above].append(columns[segment.below])
            attached[segment.below].append(columns[segment.above])
    for sweep in [order, order[::-1]] * 4:
        for number in sweep:
            if attached[number]:
                low, high = _bounds(columns, number, neighbours, 0.0, width)
                wanted = sum(column.x for column in attached[number]) / len(attached[number])
                columns[number].x = min(max(wanted, low), high)


def _neighbours(columns: Sequence[_Column], order: Sequence[int]) -> list[list[list[int | None]]]:
    """Return for each column and each of its ranks the columns next to it, left and right."""
    found: list[list[list[int | None]]] = [[[None, None] for _ in column.ranks] for column in columns]
    last: dict[int, int] = {}
    for number in order:
        for place, rank in enumerate(columns[number].ranks):
            if rank in last:
                left = last[rank]
                found[number][place][0] = left
                found[left][rank - columns[left].first][1] = number
            last[rank] = number
    return found


def _bounds(
    columns: Sequence[_Column],
    number: int,
    neighbours: Sequence[Sequence[Sequence[int | None]]],
    left: float,
    right: float,
) -> Point:
    """Return the least and the greatest x that a column may have between its neighbours and the borders."""
    column = columns[number]
    lows, highs = [], []
    for rank, (before, after), beside in zip(column.ranks, column.extents, neighbours[number]):
        low, high = left + before, right - after
        if beside[0] is not None:
            other = columns[beside[0]]
            gap = max(column.gap, other.gap)
            low = other.x + other.extents[rank - other.first][1] + gap + before
        if beside[1] is not None:
            other = columns[beside[1]]
            gap = max(column.gap, other.gap)
            high = other.x - other.extents[rank - other.first][0] - gap - after
        lows.append(low)
        highs.append(high)
    return max(lows), min(highs)


# ---- from top to bottom


def _bands(
    boxes: Sequence[Box], ranks: Sequence[int], columns: Sequence[_Column], segments: Sequence[_Segment]
) -> tuple[list[float], list[float]]:
    """Return where each rank begins and ends; lines that go far to the side have more room between two."""
    count = max(ranks) + 1
    heights, reach = [0.0] * count, [0.0] * count
    for box, rank in zip(boxes, ranks):
        heights[rank] = max(heights[rank], box.height)
    for segment in segments:
        aside = abs(columns[segment.above].x - columns[segment.below].x)
        reach[segment.gap] = max(reach[segment.gap], aside)
    tops, bottoms = [], []
    top = 0.0
    for height, aside in zip(heights, reach):
        tops.append(top)
        bottoms.append(top + height)
        top += height + BETWEEN_RANKS + min(0.06 * aside, 2 * BETWEEN_RANKS)
    return tops, bottoms


def _entries(
    boxes: Sequence[Box],
    lines: Sequence[Line],
    ways: Sequence[Sequence[int]],
    columns: Sequence[_Column],
    axes: Sequence[float],
) -> list[float]:
    """Return the x at which each line enters its box.

    What comes straight from above keeps the middle; the others have places at the side that they come from.
    """
    entries = [axes[line.target] + (line.enters or 0.0) for line in lines]
    arriving = defaultdict(list)
    for number, line in enumerate(lines):
        if line.enters is None:
            comes_from = (
                columns[ways[number][-2]].x
                if len(ways[number]) > 2
                else axes[line.source] + (line.leaves or 0.0)
            )
            arriving[line.target].append((comes_from, number))
    for target, found in arriving.items():
        found.sort()
        middle = (len(found) - 1) / 2
        straight = [place for place, (x, _) in enumerate(found) if abs(x - axes[target]) < 1]
        if straight:
            middle = straight[0]
        box = boxes[target]
        room = max(min(box.anchor, box.width - box.anchor) - 4, 0.0)
        pitch = min(PORT_PITCH, room / max(middle, len(found) - 1 - middle, 1))
        for place, (_, number) in enumerate(found):
            entries[number] = axes[target] + (place - middle) * pitch
    return entries
