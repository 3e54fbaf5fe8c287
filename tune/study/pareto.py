"""Geometry of two or more objectives.

A point has a value for each objective, in their order; mappings of points have the numbers of trials as keys.
"""

import math
import operator
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from tune.objectives import Objectives, Point


class Compromise(NamedTuple):
    """The default choice from a front."""

    number: int
    rule: Literal["knee", "compromise"]
    """`knee`: of two objectives, the point farthest from the chord of the front's normalised ends, on the side of the
    ideal. `compromise`: where no point lies there, as on every front of fewer than three points, there is no knee, and
    with more objectives none is looked for: the point nearest to the ideal, each objective on the scale from the
    reference point to it."""

    def __str__(self) -> str:
        if self.rule == "knee":
            return "knee: farthest from the line between the ends of the front"
        return "compromise: nearest to the ideal of all objectives; the front has no knee"


def pareto_front(points: Mapping[int, Point], objectives: Objectives) -> list[int]:
    """Return the numbers of the points that no other point dominates, the best in the first objective first;
    of equal points all."""
    if not points:
        return []
    return fronts(points, objectives)[0]


def fronts(points: Mapping[int, Point], objectives: Objectives) -> list[list[int]]:
    """Non-dominated sorting: the front, the front of the others, and so on (Deb et al. 2002), each with the best in the
    first objective first.

    In that order a point can only be dominated by earlier ones. With two objectives it is dominated by a front where it
    is by the front's last point, so a bisection finds its own: O(n log n) (Jensen 2003, "Reducing the Run-Time
    Complexity of Multiobjective EAs"). With more it is compared with the points of each front.
    """
    place_of = _place
    if len(objectives) == 2:
        place_of = _place_of_pair
    found: list[list[int]] = []
    minimised: list[list[Point]] = []
    ordered = sorted((_minimised(point, objectives), number) for number, point in points.items())
    for point, number in ordered:
        place = place_of(minimised, point)
        if place == len(found):
            found.append([])
            minimised.append([])
        found[place].append(number)
        minimised[place].append(point)
    return found


def hypervolume(points: Mapping[int, Point], objectives: Objectives) -> float:
    """Return the volume between the front and the reference point, as a share of that between the ideal and the
    reference point; points beyond the reference point in any objective add nothing."""
    inside = []
    for point in points.values():
        losses = losses_of(point, objectives)
        if max(losses) < 1:
            inside.append(losses)
    return _volume(inside, len(objectives))


def compromise(points: Mapping[int, Point], objectives: Objectives) -> Compromise | None:
    """Return the knee of the front, or if it has none the point nearest to the ideal; None where there is no point."""
    front = pareto_front(points, objectives)
    if not front:
        return None
    losses = {number: losses_of(points[number], objectives) for number in front}
    if len(objectives) == 2:
        knee = _knee(front, losses)
        if knee is not None:
            return Compromise(knee, "knee")
    return Compromise(min(front, key=lambda number: math.hypot(*losses[number])), "compromise")


def losses_of(point: Point, objectives: Objectives) -> Point:
    """Return each value on the scale from the ideal, 0, to the reference, 1."""
    return tuple(objective.loss(value) for objective, value in zip(objectives, point, strict=True))


def _knee(front: Sequence[int], losses: Mapping[int, Point]) -> int | None:
    """Return the point of a front of two objectives that is farthest from its chord, on the side of the ideal."""
    left, top = losses[front[0]]
    right, bottom = losses[front[-1]]
    width = right - left or 1.0
    height = bottom - top or 1.0

    def beyond_chord(number: int) -> float:
        x, y = losses[number]
        return (y - top) / height - (x - left) / width

    farthest = max(front, key=beyond_chord)
    if beyond_chord(farthest) <= 0:
        return None
    return farthest


def _minimised(point: Point, objectives: Objectives) -> Point:
    """Return the values with such signs that lower ones are better."""
    return tuple(objective.sign * value for objective, value in zip(objectives, point, strict=True))


def _place_of_pair(found: Sequence[Sequence[Point]], point: Point) -> int:
    """Return the index of the front to which a point of two minimised values belongs."""
    place = bisect_right(found, point[1], key=lambda front: front[-1][1])
    if place > 0 and found[place - 1][-1] == point:
        place -= 1  # equal points do not dominate each other
    return place


def _place(found: Sequence[Sequence[Point]], point: Point) -> int:
    """Return the index of the first front in which no point dominates `point`."""
    for place, front in enumerate(found):
        if not any(_dominates(other, point) for other in front):
            return place
    return len(found)


def _dominates(first: Point, second: Point) -> bool:
    return first != second and all(map(operator.le, first, second))


def _volume(losses: Sequence[Point], dimensions: int) -> float:
    """Return the volume that `losses` dominate in the unit cube, by slices along the last objective (While et al. 2006,
    "A Faster Algorithm for Calculating Hypervolume", section 3)."""
    if not losses:
        return 0.0
    if dimensions == 1:
        return 1 - min(losses)[0]
    last = dimensions - 1
    ordered = sorted(losses, key=operator.itemgetter(last))
    bounds = [*map(operator.itemgetter(last), ordered), 1.0]
    volume = 0.0
    for count, (start, end) in enumerate(pairwise(bounds), 1):
        if end > start:
            volume += (end - start) * _volume(ordered[:count], last)
    return volume
