"""The outputs of a peak head as possible peaks: latencies inside the waveform, waves in their order.

Shapes: B batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MIN_INTERVAL = 1e-3
"""Smallest share of the window for an interval: neighbours stay apart in float32, and gradients stay finite."""
TYPICAL_SHARES = (0.17, 0.22, 0.20, 0.41)
"""Shares of the four intervals in a window of 10 ms after a loud click: waves I, III and V at 1.7, 3.9 and 5.9 ms."""


def start_at_typical_latencies(output: nn.Linear) -> None:
    """Set the biases of the three logits so that an untrained head predicts the typical shares of the window."""
    if not output.bias.is_meta:
        shares = torch.tensor(TYPICAL_SHARES)
        with torch.no_grad():
            output.bias[:3] = (shares[:3] / shares[3]).log()


def ordered_peaks(outputs: Tensor, window_ms: float) -> Tensor:
    """Return the latencies of waves I, III, V in ms, then their amplitudes in uV, [B, 6], for any outputs [B, 6].

    A softmax divides the window into four intervals: from its start to wave I, to III, to V, and to its end. Three
    logits suffice, as that of the last interval is 0. So 0 < I < III < V < `window_ms` for all weights, and outputs of
    0 give quarters of the window. Amplitudes are returned unchanged.
    """
    logits, amplitudes = outputs.split(3, dim=1)
    shares = torch.softmax(F.pad(logits, (0, 1)), dim=1)  # [B, 4]
    intervals = MIN_INTERVAL + (1 - 4 * MIN_INTERVAL) * shares
    return torch.cat([window_ms * intervals[:, :3].cumsum(dim=1), amplitudes], dim=1)
