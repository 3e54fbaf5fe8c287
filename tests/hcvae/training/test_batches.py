import pytest
import torch

from hcvae.training.batches import epoch_batches, keyed_seed, latent_noise


@pytest.mark.parametrize(("rows", "size"), [(1, 4), (5, 4), (8, 4), (9, 4), (257, 256)])
def test_every_row_once_and_no_tiny_last_batch(rows, size):
    batches = list(epoch_batches(rows, size, seed=0, epoch=0))
    assert sorted(torch.cat(batches).tolist()) == list(range(rows))
    lengths = [len(batch) for batch in batches]
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1


def test_order_depends_on_seed_and_epoch_alone():
    first, again, other_epoch, other_seed = (
        torch.cat(list(epoch_batches(100, 10, seed, epoch))) for seed, epoch in [(1, 2), (1, 2), (1, 3), (2, 2)]
    )
    assert first.equal(again)
    assert not first.equal(other_epoch)
    assert not first.equal(other_seed)


def test_noise_is_standard_normal_and_repeatable():
    noise = latent_noise(20_000, 4, seed=3, epoch=1, step=5)
    assert noise.equal(latent_noise(20_000, 4, seed=3, epoch=1, step=5))
    assert not noise.equal(latent_noise(20_000, 4, seed=3, epoch=1, step=6))
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.var().item() == pytest.approx(1, abs=0.02)


def test_seeds_of_different_streams_and_keys_differ():
    seeds = {keyed_seed(stream, seed, epoch) for stream in range(3) for seed in range(10) for epoch in range(10)}
    assert len(seeds) == 300
    assert all(0 <= seed < 2**63 for seed in seeds)
