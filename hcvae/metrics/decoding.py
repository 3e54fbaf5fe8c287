"""Decodes the rows' latents, as they are and exchanged. Tensors go to the decoder as tensors, arrays as arrays.

Shapes: N rows, T samples, S static parameters, K latent blocks, Q swaps.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from hcvae.metrics.checks import to_numpy

ArrayT = TypeVar("ArrayT", NDArray[Any], torch.Tensor)
Decode = Callable[..., ArrayT]


@dataclass(frozen=True)
class LatentDecoder(Generic[ArrayT]):
    """A decoder and the latents of N rows."""

    decode: Decode[ArrayT]
    """(z_global, z_local, condition), and z_intermediate where there is one -> waveforms [n, T]."""
    latents: tuple[ArrayT, ...]
    """The K blocks: z_global, z_local and, where there is one, z_intermediate, each [N, dimensions]."""
    condition: ArrayT
    """[N, S]."""
    signal_length: int
    """T."""

    def reconstruct(self) -> NDArray[np.float64]:
        """Every row with its own latents and condition, [N, T]."""
        rows = np.arange(len(self.condition))
        return self._decode_rows([rows] * len(self.latents), rows)

    def swaps(self, pairs: int, repeats: int, seed: int) -> Iterator[NDArray[np.float64]]:
        """One call of the decoder a repeat: the waveforms of its Q swaps at every corner, [2, ..., 2, Q, T].

        A swap draws rows i != j and k. Axis b of the K leading ones says whether block b is that of row i or of row
        j, so that [0, 1] holds d(g_i, l_j, c_k); all corners share the condition of row k.
        """
        n_rows, blocks = len(self.condition), len(self.latents)
        corners = (2,) * blocks
        row_of_block = np.indices(corners).reshape(blocks, -1)  # 0 for row i, 1 for row j, at each corner
        random = np.random.default_rng(seed)
        for _ in range(repeats):
            i = random.integers(n_rows, size=pairs)
            j = (i + random.integers(1, n_rows, size=pairs)) % n_rows
            k = random.integers(n_rows, size=pairs)
            of_latents = [np.stack([i, j])[choice].ravel() for choice in row_of_block]
            yield self._decode_rows(of_latents, np.tile(k, 2**blocks)).reshape(*corners, pairs, -1)

    def _decode_rows(
        self, of_latents: Sequence[NDArray[np.int64]], of_condition: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        z_global, z_local, *z_intermediate = map(_take, self.latents, of_latents)
        with torch.no_grad():
            decoded = self.decode(z_global, z_local, _take(self.condition, of_condition), *z_intermediate)
        return self.checked(decoded, len(of_condition))

    def checked(self, decoded: ArrayT, rows: int) -> NDArray[np.float64]:
        """Decoded waveforms as an array, once they are [rows, T] and finite.

        Raises:
            ValueError: they are not.
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
