"""Decodes the rows' latents, as they are and exchanged. Tensors go to the decoder as tensors, arrays as arrays.

Shapes: N rows, T samples, S static parameters, G global and L local latent dimensions, Q swaps.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

ArrayT = TypeVar("ArrayT", NDArray[Any], torch.Tensor)
Decode = Callable[[ArrayT, ArrayT, ArrayT], ArrayT]


def to_numpy(values: NDArray[Any] | torch.Tensor) -> NDArray[np.float64]:
    """The values in float64."""
    if isinstance(values, torch.Tensor):
        return values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)


@dataclass(frozen=True)
class LatentDecoder(Generic[ArrayT]):
    """A decoder and the latents of N rows."""

    decode: Decode[ArrayT]
    """(z_global, z_local, condition) -> waveforms [n, T]."""
    z_global: ArrayT
    """[N, G]."""
    z_local: ArrayT
    """[N, L]."""
    condition: ArrayT
    """[N, S]."""
    signal_length: int
    """T."""

    def reconstruct(self) -> NDArray[np.float64]:
        """Every row with its own latents and condition, [N, T]."""
        rows = np.arange(len(self.z_global))
        return self._decode_rows(rows, rows, rows)

    def swaps(self, pairs: int, repeats: int, seed: int) -> Iterator[NDArray[np.float64]]:
        """One call of the decoder a repeat: y11, y12, y21, y22 of its Q swaps below each other, [4 Q, T].

        A swap draws rows i != j and k: y11 = d(g_i, l_i, c_k), y12 = d(g_i, l_j, c_k), y21 = d(g_j, l_i, c_k),
        y22 = d(g_j, l_j, c_k).
        """
        n_rows = len(self.z_global)
        random = np.random.default_rng(seed)
        for _ in range(repeats):
            i = random.integers(n_rows, size=pairs)
            j = (i + random.integers(1, n_rows, size=pairs)) % n_rows
            k = random.integers(n_rows, size=pairs)
            yield self._decode_rows(np.concatenate([i, i, j, j]), np.concatenate([i, j, i, j]), np.tile(k, 4))

    def _decode_rows(
        self, of_global: NDArray[np.int64], of_local: NDArray[np.int64], of_condition: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        with torch.no_grad():
            decoded = self.decode(
                _take(self.z_global, of_global), _take(self.z_local, of_local), _take(self.condition, of_condition)
            )
        waveforms = to_numpy(decoded)
        expected = (len(of_global), self.signal_length)
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
