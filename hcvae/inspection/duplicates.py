"""Rows that are copies of others, exact or scaled: they are no independent averages.

Legend: N rows, T samples.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from hcvae.finding import Finding
from hcvae.inspection.recordings import Recordings

SAME_SHAPE = 1e-3
"""Distance of two waveforms of norm 1 up to which one is a copy of the other: noise of 1/1000 of the waveform."""
PROJECTIONS = 10
NEIGHBOURS = 6
"""Each row itself, and five others: enough to join many copies of one waveform."""
SHOWN = 3


def check(recordings: Recordings) -> list[Finding]:
    """Waveforms that occur twice, and waveforms that are multiples of others."""
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
    """For each row [N] of signals [N, T] the first row with the same bytes."""
    as_bytes = signals.view(np.dtype((np.void, signals.shape[1] * signals.itemsize))).ravel()
    first, inverse = np.unique(as_bytes, return_index=True, return_inverse=True)[1:]
    return np.asarray(np.asarray(first)[inverse])


def scaled_copies(signals: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows that are multiples of earlier ones: pairs [P, 2] of original and copy, and the factors [P].

    Rows of norm 1 are compared in a few random directions first (a distance can only shrink there), with their
    negatives, and then in full. Of a chain of copies the first row is the original.
    """
    if len(signals) < 2:
        return np.empty((0, 2), np.int64), np.empty(0)
    wide = signals.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1)
    unit = wide / norms[:, None]
    directions = np.linalg.qr(np.random.default_rng(0).standard_normal((unit.shape[1], PROJECTIONS)))[0]
    projected = unit @ directions
    tree = cKDTree(np.concatenate([projected, -projected]))
    away, near = tree.query(projected, k=NEIGHBOURS, distance_upper_bound=SAME_SHAPE)
    row, rank = np.nonzero(np.isfinite(away))
    other = np.asarray(near)[row, rank]
    sign, other = np.where(other < len(unit), 1.0, -1.0), other % len(unit)
    same = np.linalg.norm(unit[row] - sign[:, None] * unit[other], axis=1) < SAME_SHAPE
    graph = coo_array((np.ones(same.sum()), (row[same], other[same])), shape=(len(unit), len(unit)))
    _, family = connected_components(graph, directed=False)
    _, first, member = np.unique(family, return_index=True, return_inverse=True)
    original = np.take(first, member)
    copy = np.flatnonzero(original != np.arange(len(unit)))
    original = original[copy]
    signs = np.sign(np.einsum("pt,pt->p", unit[original], unit[copy]))
    return np.stack([original, copy], axis=1), signs * norms[copy] / norms[original]


def _exact(recordings: Recordings, copies: NDArray[np.int64], originals: NDArray[np.int64]) -> Finding:
    other_subject = int(np.sum(recordings.subject[copies] != recordings.subject[originals]))
    examples = "; ".join(
        f"{recordings.named(np.array([copy]))} repeats {recordings.named(np.array([original]))}"
        for copy, original in zip(copies[:SHOWN], originals[:SHOWN], strict=True)
    )
    return Finding(
        "rows repeat other rows",
        f"{len(copies)} of {len(recordings)} waveforms are exact copies, {other_subject} of them of another "
        f"subject's: {examples}",
        "keep one of each: copies in two parts of the split make a model look better than it is",
    )


def _scaled(recordings: Recordings, pairs: NDArray[np.int64], factors: NDArray[np.float64]) -> Finding:
    examples = "; ".join(
        f"{recordings.named(pair[1:])} is {factor:.6g} times {recordings.named(pair[:1])}"
        for pair, factor in zip(pairs[:SHOWN], factors[:SHOWN], strict=True)
    )
    return Finding(
        "rows are scaled copies of other rows",
        f"{len(pairs)} of {len(recordings)} waveforms, {int(np.sum(factors < 0))} of them inverted: {examples}",
        "find out which one has the right scale, and keep that one",
    )
