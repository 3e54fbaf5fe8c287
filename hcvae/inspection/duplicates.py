"""Check for rows that are exact or scaled copies of other rows, and so not independent averages.

Shapes: N rows, T samples, P pairs.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from hcvae.counting import counted
from hcvae.finding import Finding
from hcvae.inspection.recordings import Recordings

SAME_SHAPE = 1e-3
"""Largest distance of two copies, as unit vectors: noise of 1/1000 of the waveform."""
PROJECTIONS = 10
"""Random directions of the first, fast comparison."""
NEIGHBOURS = 6
"""Each row itself and five others, which connects many copies of one waveform."""
SHOWN = 3
"""Pairs that a finding lists."""


def check(recordings: Recordings) -> list[Finding]:
    """Find waveforms that occur twice, and waveforms that are multiples of others."""
    rows = np.flatnonzero(recordings.usable)
    signals = recordings.signals_uv[rows]
    found = []
    first = first_of_equal(signals)
    repeated = np.flatnonzero(first != np.arange(len(rows)))
    if repeated.size:
        found.append(_exact(recordings, rows[repeated], rows[first[repeated]]))
    distinct = np.unique(first)
    copies, factors = scaled_copies(signals[distinct])
    if copies.size:
        found.append(_scaled(recordings, rows[distinct[copies]], factors))
    return found


def first_of_equal(signals: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return for each row of signals [N, T] the first row with the same bytes [N]."""
    as_bytes = signals.view(np.dtype((np.void, signals.shape[1] * signals.itemsize))).ravel()
    first, inverse = np.unique(as_bytes, return_index=True, return_inverse=True)[1:]
    return np.asarray(np.asarray(first)[inverse])


def scaled_copies(signals: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return rows that are multiples of earlier ones: pairs [P, 2] of original and copy, and factors [P].

    In a group of copies the first row is the original.
    """
    if len(signals) < 2:
        return np.empty((0, 2), np.int64), np.empty(0)
    wide = signals.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1)
    unit = wide / norms[:, None]
    row, other = _parallel_pairs(unit)
    graph = coo_array((np.ones(len(row)), (row, other)), shape=(len(unit), len(unit)))
    _, component = connected_components(graph, directed=False)
    _, first, member = np.unique(component, return_index=True, return_inverse=True)
    original = np.take(first, member)
    copy = np.flatnonzero(original != np.arange(len(unit)))
    original = original[copy]
    signs = np.sign(np.einsum("pt,pt->p", unit[original], unit[copy]))
    return np.stack([original, copy], axis=1), signs * norms[copy] / norms[original]


def _parallel_pairs(unit: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of unit vectors [N, T] that are parallel or opposite, as two arrays of rows [P].

    Candidates are neighbours in a few random directions, where distances can only shrink.
    """
    directions = np.linalg.qr(np.random.default_rng(0).standard_normal((unit.shape[1], PROJECTIONS)))[0]
    projected = unit @ directions
    tree = cKDTree(np.concatenate([projected, -projected]))
    distance, neighbour = tree.query(projected, k=NEIGHBOURS, distance_upper_bound=SAME_SHAPE)
    row, rank = np.nonzero(np.isfinite(distance))
    other = np.asarray(neighbour)[row, rank]
    sign = np.where(other < len(unit), 1.0, -1.0)
    other = other % len(unit)
    same = np.linalg.norm(unit[row] - sign[:, None] * unit[other], axis=1) < SAME_SHAPE
    return row[same], other[same]


def _exact(recordings: Recordings, copies: NDArray[np.int64], originals: NDArray[np.int64]) -> Finding:
    other_subject = int(np.sum(recordings.subject[copies] != recordings.subject[originals]))
    examples = []
    for copy, original in zip(copies[:SHOWN], originals[:SHOWN], strict=True):
        examples.append(f"{recordings.named(np.array([copy]))} repeats {recordings.named(np.array([original]))}")
    return Finding(
        "rows repeat other rows",
        f"{len(copies)} of {counted(len(recordings), 'waveform')} are exact copies, {other_subject} of them from "
        f"another subject: {'; '.join(examples)}",
        "keep one of each: copies in two parts of the split make metrics look better than they are",
    )


def _scaled(recordings: Recordings, pairs: NDArray[np.int64], factors: NDArray[np.float64]) -> Finding:
    examples = []
    for pair, factor in zip(pairs[:SHOWN], factors[:SHOWN], strict=True):
        examples.append(f"{recordings.named(pair[1:])} is {factor:.6g} times {recordings.named(pair[:1])}")
    return Finding(
        "rows are scaled copies of other rows",
        f"{len(pairs)} of {counted(len(recordings), 'waveform')}, {int(np.sum(factors < 0))} of them inverted: "
        f"{'; '.join(examples)}",
        "find out which of them has the right scale, and keep that one",
    )
