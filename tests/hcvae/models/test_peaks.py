"""For any output of the network, latencies lie inside the window and in the order of the waves."""

import numpy as np
import pytest
import torch

from hcvae.config import ModelConfig
from hcvae.models import build
from hcvae.models.peaks import ordered_peaks

WINDOW_MS = 9.95


def in_order(latency_ms: torch.Tensor, window_ms: float = WINDOW_MS) -> bool:
    ends = torch.tensor([0.0, window_ms]).expand(len(latency_ms), 2)
    return bool((torch.cat([ends[:, :1], latency_ms, ends[:, 1:]], dim=1).diff(dim=1) > 0).all())


def test_a_softmax_divides_the_window_into_the_latencies():
    outputs = torch.tensor([[0.0, 0.0, 0.0, 0.1, -0.2, 3.0], [1.0, 0.5, -2.0, 0.0, 0.0, 0.0]])
    share = np.exp([1.0, 0.5, -2.0, 0.0])
    share = 0.001 + 0.996 * share / share.sum()
    expected = [[2.4875, 4.975, 7.4625, 0.1, -0.2, 3.0], [*(9.95 * share.cumsum()[:3]), 0, 0, 0]]
    np.testing.assert_allclose(ordered_peaks(outputs, WINDOW_MS), expected, rtol=1e-6)


@pytest.mark.parametrize("size", [1.0, 30.0, 1e4, 3e38])
@pytest.mark.parametrize("window_ms", [1e-3, WINDOW_MS, 5000.0])
def test_no_output_leaves_the_window_or_the_order_in_float32(size, window_ms):
    torch.manual_seed(0)
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0])] * 3)
    logits = size * torch.cat([corners, torch.rand(1000, 3) * 2 - 1])
    peaks = ordered_peaks(torch.cat([logits, torch.zeros(len(logits), 3)], dim=1), window_ms)
    assert in_order(peaks[:, :3], window_ms)


def test_gradients_are_finite_and_reach_every_logit():
    outputs = torch.randn(50, 6, requires_grad=True)
    (gradient,) = torch.autograd.grad(ordered_peaks(outputs, WINDOW_MS)[:, :3].sum(), outputs)
    assert gradient.isfinite().all()
    assert (gradient[:, :3] != 0).all()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("changes", [{}, {"local_segments": 2}, {"use_film": False, "intermediate_levels": 1}])
def test_a_model_with_a_window_predicts_possible_latencies_under_autocast_too(changes, precision):
    torch.manual_seed(0)
    shape = {"static_dim": 3, "width": 0.05, "global_latent_dim": 4, "local_latent_dim": 6}
    model = build(ModelConfig(**shape, peak_window_ms=WINDOW_MS, **changes)).eval()
    latents = {f"z_{block}": 100 * torch.randn(500, dim) for block, dim in model.latent_dims.items()}
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
        peaks = model.decode(**latents, static_params=torch.randn(500, 3))["predicted_peaks"]
    assert peaks.dtype == torch.float32
    assert peaks[:, :3].std(dim=0).min() > 0.3
    assert in_order(peaks[:, :3])


def test_a_window_changes_only_the_latencies_for_the_same_weights():
    torch.manual_seed(0)
    free = build(ModelConfig(static_dim=3, width=0.05)).eval()
    bound = build(ModelConfig(static_dim=3, width=0.05, peak_window_ms=WINDOW_MS)).eval()
    bound.load_state_dict(free.state_dict())
    latents = {f"z_{block}": torch.randn(5, dim) for block, dim in free.latent_dims.items()}
    with torch.no_grad():
        before, after = (model.decode(**latents, static_params=torch.zeros(5, 3)) for model in (free, bound))
    assert torch.equal(ordered_peaks(before["predicted_peaks"], WINDOW_MS), after["predicted_peaks"])
    assert torch.equal(before["recon_signal"], after["recon_signal"])


def test_an_untrained_head_predicts_about_the_typical_latencies():
    torch.manual_seed(0)
    model = build(ModelConfig(static_dim=3, width=0.25, peak_window_ms=10.0)).eval()
    latents = {f"z_{block}": torch.randn(200, dim) for block, dim in model.latent_dims.items()}
    with torch.no_grad():
        latency_ms = model.decode(**latents, static_params=torch.randn(200, 3))["predicted_peaks"][:, :3]
    assert latency_ms.mean(dim=0).tolist() == pytest.approx([1.7, 3.9, 5.9], abs=0.3)
