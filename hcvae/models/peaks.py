"""Peaks that a waveform can have: latencies inside it, waves in their order.

Legend: B batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MIN_INTERVAL = 1e-3
"""Share of the window that each interval keeps at least: neighbours stay apart in float32, and gradients finite."""
TYPICAL_SHARES = (0.17, 0.22, 0.20, 0.41)
"""Of a window of 10 ms after a loud click: wave I at 1.7, III at 3.9 and V at 5.9 ms."""


def start_at_typical_latencies(output: nn.Linear) -> None:
    """Set the biases of the three logits, so that an untrained head predicts the typical shares of the window."""
    if not output.bias.is_meta:
        shares = torch.tensor(TYPICAL_SHARES)
        with torch.no_grad():
            output.bias[:3] = (shares[:3] / shares[3]).log()


def ordered_peaks(outputs: Tensor, window_ms: float) -> Tensor:
    """Any outputs [B, 6] of a network to latencies of waves I, III, V in ms, then their amplitudes in uV, [B, 6].

    A softmax shares the window out among four intervals: from its start to wave I, to III, to V, and to its end. Three
    logits do: the last interval's is 0. So 0 < I < III < V < `window_ms`, whatever the weights are, and outputs of 0
    are quarters of the window. Amplitudes are as they come.
    """
    logits, amplitudes = outputs.split(3, dim=1)
    shares = torch.softmax(F.pad(logits, (0, 1)), dim=1)  # [B, 4]
    intervals = MIN_INTERVAL + (1 - 4 * MIN_INTERVAL) * shares
    return torch.cat([window_ms * intervals[:, :3].cumsum(dim=1), amplitudes], dim=1)
