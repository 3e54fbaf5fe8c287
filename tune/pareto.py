"""Geometry of the two objectives: reconstruction_nmse is minimised, disentanglement maximised.

A point is (reconstruction_nmse, disentanglement); mappings of points have the numbers of trials as keys.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

OBJECTIVES = ("reconstruction_nmse", "disentanglement")
DIRECTIONS: Final[tuple[Literal["minimize"], Literal["maximize"]]] = ("minimize", "maximize")
REFERENCE = (1.0, 0.0)
"""Reference point of the hypervolume: the prediction of the mean, and no routing at all."""

IDEAL = (0.0, 1.0)
"""No error, and every attribute routed as intended."""

Point = tuple[float, float]


class Compromise(NamedTuple):
    """The default choice from a front."""

    number: int
    rule: Literal["knee", "compromise"]
    """`knee`: farthest from the chord of the front's normalised ends, on the side of the ideal. `compromise`: where no
    point lies there, as on every front of fewer than three points, there is no knee; nearest to the ideal, each
    objective on the scale from the reference point to it."""

    def __str__(self) -> str:
        if self.rule == "knee":
            return "knee: farthest from the line between the ends of the front"
        return "compromise: nearest to error 0 and score 1; no point lies beyond the line between the ends of the front"


def pareto_front(points: Mapping[int, Point]) -> list[int]:
    """Return the numbers of the points that no other point dominates, by rising NMSE; of equal points all."""
    front: list[int] = []
    best: Point | None = None
    for number in _by_rising_nmse(points):
        point = points[number]
        if best is None or point[1] > best[1] or point == best:
            front.append(number)
            best = point
    return front


def fronts(points: Mapping[int, Point]) -> list[list[int]]:
    """Non-dominated sorting: the front, the front of the others, and so on (Deb et al. 2002), each by rising NMSE.

    In that order a point is dominated by a front where it is by the front's last point, so a bisection finds its own:
    O(n log n) (Jensen 2003, "Reducing the Run-Time Complexity of Multiobjective EAs").
    """
    found: list[list[int]] = []
    last: list[Point] = []
    for number in _by_rising_nmse(points):
        point = points[number]
        place = bisect_right(last, -point[1], key=lambda other: -other[1])
        if place > 0 and last[place - 1] == point:
            place -= 1  # equal points do not dominate each other
        if place == len(found):
            found.append([])
            last.append(point)
        found[place].append(number)
        last[place] = point
    return found


def hypervolume(points: Mapping[int, Point]) -> float:
    """Return the area between the front and the reference point; points beyond the reference point add nothing."""
    area = 0.0
    covered = REFERENCE[1]
    for number in pareto_front(points):
        nmse, disentanglement = points[number]
        area += max(0.0, REFERENCE[0] - nmse) * max(0.0, disentanglement - covered)
        covered = max(covered, disentanglement)
    return area


def compromise(points: Mapping[int, Point]) -> Compromise | None:
    """Return the knee of the front, or if it has none the point nearest to the ideal; None where there is no point."""
    front = pareto_front(points)
    if not front:
        return None
    low = points[front[0]]
    high = points[front[-1]]

    def beyond_chord(number: int) -> float:
        x, y = ((points[number][axis] - low[axis]) / ((high[axis] - low[axis]) or 1.0) for axis in (0, 1))
        return y - x

    farthest = max(front, key=beyond_chord)
    if beyond_chord(farthest) > 0:
        return Compromise(farthest, "knee")
    return Compromise(min(front, key=lambda number: _distance_to_ideal(points[number])), "compromise")


def _distance_to_ideal(point: Point) -> float:
    return math.hypot(*((point[axis] - IDEAL[axis]) / (REFERENCE[axis] - IDEAL[axis]) for axis in (0, 1)))


def _by_rising_nmse(points: Mapping[int, Point]) -> list[int]:
    return sorted(points, key=lambda number: (points[number][0], -points[number][1], number))
