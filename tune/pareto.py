"""Geometry of the two objectives: reconstruction_nmse is minimised, disentanglement maximised.

A point is (reconstruction_nmse, disentanglement); points are named by their trial's number.
"""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Final, Literal

OBJECTIVES = ("reconstruction_nmse", "disentanglement")
DIRECTIONS: Final[tuple[Literal["minimize"], Literal["maximize"]]] = ("minimize", "maximize")
REFERENCE = (1.0, 0.0)
"""Reference point of the hypervolume: predicting the mean, and no routing at all."""

Point = tuple[float, float]


def pareto_front(points: Mapping[int, Point]) -> list[int]:
    """Numbers of the points that no other point dominates, by rising NMSE. Equal points do not dominate each other."""
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
    """Area between the front and the reference point; points beyond the reference point add nothing."""
    area, covered = 0.0, REFERENCE[1]
    for number in pareto_front(points):
        nmse, disentanglement = points[number]
        area += max(0.0, REFERENCE[0] - nmse) * max(0.0, disentanglement - covered)
        covered = max(covered, disentanglement)
    return area


def knee(points: Mapping[int, Point]) -> int | None:
    """The front's point farthest from the chord of its normalised ends; with fewer than three, the lowest NMSE."""
    front = pareto_front(points)
    if not front:
        return None
    low, high = points[front[0]], points[front[-1]]
    if len(front) < 3 or low == high:
        return front[0]

    def distance(number: int) -> float:
        x, y = ((points[number][axis] - low[axis]) / (high[axis] - low[axis]) for axis in (0, 1))
        return abs(y - x)

    return max(front, key=distance)


def _by_rising_nmse(points: Mapping[int, Point]) -> list[int]:
    return sorted(points, key=lambda number: (points[number][0], -points[number][1], number))
