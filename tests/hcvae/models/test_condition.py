import pytest
import torch

from hcvae.models.condition import ConditionRegression

N = 20_000


@pytest.fixture
def noise() -> torch.Tensor:
    return torch.randn(N, 4, generator=torch.Generator().manual_seed(1))


def test_unfitted_it_is_0_under_every_condition():
    assert torch.equal(ConditionRegression(3, 2)(torch.randn(5, 3)), torch.zeros(5, 2))


def test_it_follows_each_condition_of_a_grid(noise):
    levels = torch.linspace(-1.5, 1.5, 13)[torch.arange(N) % 13]
    bend = torch.sin(3 * levels) + (levels > 0)  # not linear, and with a step
    regression = ConditionRegression(1, 4)
    regression.fit(levels[:, None], bend[:, None] + noise)
    torch.testing.assert_close(regression(levels[:13, None])[:, 0], bend[:13], rtol=0, atol=0.15)


def test_one_hot_conditions_do_not_break_the_fit():
    one_hot = torch.eye(2)[torch.arange(N) % 2]
    regression = ConditionRegression(2, 1)
    regression.fit(one_hot, 3 * one_hot[:, :1])
    assert regression(torch.eye(2))[:, 0].tolist() == pytest.approx([3, 0], abs=0.1)


def test_under_one_condition_it_is_the_mean(noise):
    regression = ConditionRegression(3, 4)
    regression.fit(torch.ones(N, 3), 5 + noise)
    torch.testing.assert_close(regression(torch.ones(1, 3))[0], 5 + noise.mean(0), rtol=0, atol=1e-3)


def test_held_out_rows_prevent_that_subjects_are_memorised():
    # 60 subjects with 20 rows each, identified by their age, on which the quantity does not depend.
    generator = torch.Generator().manual_seed(0)
    age = torch.rand(120, 1, generator=generator).repeat_interleave(20, dim=0) * 3
    subject = torch.randn(120, 1, generator=generator).repeat_interleave(20, dim=0)
    rows, others = slice(0, 1200), slice(1200, 2400)
    free, chosen = ConditionRegression(1, 1), ConditionRegression(1, 1)
    free.fit(age[rows], subject[rows])
    chosen.fit(age[rows], subject[rows], (age[others], subject[others]))
    errors = [(model(age[others]) - subject[others]).square().mean().item() for model in (free, chosen)]
    of_the_mean = (subject[rows].mean() - subject[others]).square().mean().item()
    assert errors[0] > 1.2 * of_the_mean
    assert errors[1] < 1.05 * of_the_mean


def test_held_out_rows_do_not_change_a_true_dependence():
    static = torch.linspace(-2, 2, 400)[:, None]
    held_out = torch.linspace(-1.9, 1.9, 97)[:, None]
    model = ConditionRegression(1, 1)
    model.fit(static, torch.sin(3 * static), (held_out, torch.sin(3 * held_out)))
    torch.testing.assert_close(model(held_out), torch.sin(3 * held_out), atol=0.1, rtol=0)
