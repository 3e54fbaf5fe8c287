"""Time segments: windows against scipy's, the order of the rows, bad arguments."""

import numpy as np
import pytest
import torch
from scipy.signal.windows import tukey

from hcvae.errors import UserError
from hcvae.models.time_segments import TimeSegments, segment_windows


@pytest.mark.parametrize("n", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("signal_length", [32, 51, 200])
def test_windows_sum_to_one_and_stay_between_0_and_1(n, signal_length):
    windows = segment_windows(n, signal_length)
    assert windows.shape == (n, signal_length)
    assert windows.dtype == torch.float32
    torch.testing.assert_close(windows.sum(dim=0), torch.ones(signal_length), rtol=0, atol=1e-6)
    assert windows.min() >= 0
    assert windows.max() <= 1
    assert (windows.max(dim=1).values > 0.5).all()


def test_a_window_is_a_tukey_window_over_its_segment_and_half_a_crossfade_on_either_side():
    windows = segment_windows(5, 200).numpy()
    reach = tukey(2 * 60 + 1, 2 / 3)[1::2]  # segment of 40 samples, crossfades of 20: a third of 60 at each end
    for segment in (1, 2, 3):
        expected = np.zeros(200)
        expected[40 * segment - 10 : 40 * segment + 50] = reach
        np.testing.assert_allclose(windows[segment], expected, atol=1e-6)
        assert (windows[segment][expected == 0] == 0).all()
    np.testing.assert_allclose(windows[0], np.r_[np.ones(30), reach[-20:], np.zeros(150)], atol=1e-6)
    np.testing.assert_allclose(windows[4], windows[0][::-1], atol=1e-6)


def test_rows_are_waveform_by_waveform_and_segment_by_segment():
    segments = TimeSegments(3, 32, 6)
    z_local = torch.arange(12.0).reshape(2, 6)
    assert segments.split(z_local).tolist() == [
        [0, 1, 1, 0, 0],
        [2, 3, 0, 1, 0],
        [4, 5, 0, 0, 1],
        [6, 7, 1, 0, 0],
        [8, 9, 0, 1, 0],
        [10, 11, 0, 0, 1],
    ]
    assert segments.inputs == 5
    assert segments.for_each(torch.tensor([[1.0], [2.0]])).flatten().tolist() == [1, 1, 1, 2, 2, 2]
    rows = torch.randn(6, 32)
    joined = [sum(rows[3 * b + s] * segments.windows[s] for s in range(3)) for b in range(2)]
    torch.testing.assert_close(segments.join(rows), torch.stack(joined))
    torch.testing.assert_close(segments.mean(rows), torch.stack([rows[:3].mean(0), rows[3:].mean(0)]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 50, 6), "local_segments: must be a whole number of at least 1, but got 0"),
        ((51, 50, 51), "local_segments: must be at most the 50 samples of a waveform, but got 51"),
        ((5, 50, 32), r"local_latent_dim: must be a multiple of local_segments \(5\), but got 32; 35 would be right"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        TimeSegments(*arguments)
