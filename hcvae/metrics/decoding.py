"""Decoding of latents, as they are and exchanged between rows. Decoders receive tensors or arrays, as the latents are.

Shapes: N rows, T samples, S static parameters, K latent blocks, Q swaps.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from hcvae.arrays import FloatArray
from hcvae.metrics.checks import to_numpy

ArrayT = TypeVar("ArrayT", NDArray[Any], torch.Tensor)
Decode = Callable[..., ArrayT]


@dataclass(frozen=True)
class LatentDecoder(Generic[ArrayT]):
    """A decoder and the latents of N rows."""

    decode: Decode[ArrayT]
    """(z_global, z_local, condition), and z_intermediate, if any -> waveforms [n, T]."""
    latents: tuple[ArrayT, ...]
    """The K blocks: z_global, z_local and z_intermediate, if any, each [N, dimensions]."""
    condition: ArrayT
    """Encoded static parameters, [N, S]."""
    signal_length: int
    """T: samples in a decoded waveform."""

    def reconstruct(self) -> FloatArray:
        """Decode every row with its own latents and condition, [N, T]."""
        rows = np.arange(len(self.condition))
        return self._decode_rows([rows] * len(self.latents), rows)

    def swaps(self, pairs: int, repeats: int, seed: int) -> Iterator[FloatArray]:
        """Yield the waveforms of Q = `pairs` random swaps at every corner, [2, ..., 2, Q, T], once for each repeat.

        A swap samples rows i != j and k. Index 0 on axis b of the K leading ones takes block b from row i, index 1 from
        row j, so that [0, 1] is d(g_i, l_j, c_k). All corners have the condition of row k. Each repeat calls the
        decoder once.
        """
        n_rows = len(self.condition)
        blocks = len(self.latents)
        corners = (2,) * blocks
        row_of_block = np.indices(corners).reshape(blocks, -1)  # 0 for row i, 1 for row j, at each corner
        random = np.random.default_rng(seed)
        for _ in range(repeats):
            i = random.integers(n_rows, size=pairs)
            j = (i + random.integers(1, n_rows, size=pairs)) % n_rows
            k = random.integers(n_rows, size=pairs)
            latent_rows = [np.stack([i, j])[choice].ravel() for choice in row_of_block]
            yield self._decode_rows(latent_rows, np.tile(k, 2**blocks)).reshape(*corners, pairs, -1)

    def _decode_rows(self, latent_rows: Sequence[NDArray[np.int64]], condition_rows: NDArray[np.int64]) -> FloatArray:
        """Decode the given rows of each block and of the condition."""
        z_global, z_local, *z_intermediate = map(_take, self.latents, latent_rows)
        with torch.no_grad():
            decoded = self.decode(z_global, z_local, _take(self.condition, condition_rows), *z_intermediate)
        return self.checked(decoded, len(condition_rows))

    def checked(self, decoded: ArrayT, rows: int) -> FloatArray:
        """Return decoded waveforms as an array [rows, T].

        Raises:
            ValueError: they have another shape or are not finite.
        """
        waveforms = to_numpy(decoded)
        expected = (rows, self.signal_length)
        if waveforms.shape != expected:
            raise ValueError(f"decode: the shape must be {expected}, but got {waveforms.shape}")
        if not np.isfinite(waveforms).all():
            n_bad = int(np.sum(~np.isfinite(waveforms).all(axis=1)))
            raise ValueError(f"decode: waveforms must be finite, but got NaN or infinity in {n_bad} of {expected[0]}")
        return waveforms


def _take(values: ArrayT, rows: NDArray[np.int64]) -> ArrayT:
    if isinstance(values, torch.Tensor):
        return values.detach()[torch.from_numpy(rows)].float()
    return values[rows]
