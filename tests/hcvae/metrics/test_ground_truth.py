"""The simulator as its own decoder: the latent that contains a factor controls it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hcvae.data.simulator import COARSE_FACTORS, FINE_FACTORS, simulate
from hcvae.errors import UserError
from hcvae.metrics.ground_truth import (
    condition_of,
    factor_reader,
    factors_of,
    ground_truth_routing,
    oracle_decode,
    oracle_routing,
)


@pytest.fixture(scope="module")
def rows():
    table = simulate(1200, 5)
    coarse, fine = (
        np.column_stack([table[name].to_numpy().astype(float) for name in names])
        for names in (COARSE_FACTORS, FINE_FACTORS)
    )
    return SimpleNamespace(table=table, coarse=coarse, fine=fine, condition=condition_of(table))


def routing(rows, decode, z_global, z_local, **options):
    return ground_truth_routing(decode, z_global, z_local, rows.condition, rows.condition, **options)


def test_the_reader_predicts_every_factor_that_counts():
    r2 = factor_reader().r2
    assert min(r2.values()) >= 0.3
    assert r2["factor_offset_uv"] > 0.9


def test_the_oracle_scores_about_0_92(rows):
    oracle = oracle_routing(rows.table)
    assert 0.85 < oracle.signed < 0.97
    assert oracle.signed == pytest.approx((oracle.coarse + oracle.fine) / 2)
    assert set(oracle.shares) == {*COARSE_FACTORS, *FINE_FACTORS}


def test_exchanged_roles_score_the_opposite(rows):
    def decode(z_global, z_local, condition):
        return oracle_decode(z_local, z_global, condition)

    exchanged = routing(rows, decode, rows.fine, rows.coarse)
    assert exchanged.signed == pytest.approx(-oracle_routing(rows.table).signed, abs=1e-6)


def test_a_decoder_of_the_condition_alone_scores_0(rows):
    def decode(z_global, z_local, condition):
        return oracle_decode(np.ones_like(z_global) * [1, 0, 0], np.ones_like(z_local) * [0, 0, 1, 1], condition)

    result = routing(rows, decode, rows.coarse, rows.fine)
    assert result.signed == 0
    assert all(share == (0, 0, 0) for share in result.shares.values())


def test_coarse_factors_alone_routed_correctly_score_in_between(rows):
    # z_global contains everything: coarse factors as intended, fine ones in reverse
    def decode(z_global, z_local, condition):
        return oracle_decode(z_global[:, :3], z_global[:, 3:], condition)

    result = routing(rows, decode, np.hstack([rows.coarse, rows.fine]), np.zeros((len(rows.fine), 1)))
    assert (result.coarse, result.fine) == pytest.approx((1, -1), abs=1e-9)
    assert result.signed == pytest.approx(0, abs=1e-9)

    # the gain moves to z_local: of three coarse factors one goes the other way
    def mixed(z_global, z_local, condition):
        return oracle_decode(np.hstack([z_local[:, :1], z_global]), z_local[:, 1:], condition)

    result = routing(rows, mixed, rows.coarse[:, 1:], np.hstack([rows.coarse[:, :1], rows.fine]))
    oracle = oracle_routing(rows.table)
    assert result.coarse == pytest.approx(oracle.coarse - 2 / 3, abs=0.1)
    assert result.fine == pytest.approx(oracle.fine, abs=0.1)


def test_factors_of_an_intermediate_latent_are_routed_neither_way(rows):
    def decode(z_global, z_local, condition, z_intermediate):
        return oracle_decode(z_global, z_intermediate, condition)

    none = np.zeros((len(rows.fine), 1))
    result = routing(rows, decode, rows.coarse, none, z_intermediate=rows.fine)
    assert result.coarse > 0.8
    assert result.fine < 0.1
    assert result.shares["factor_latency_jitter_ms"].intermediate_share > 0.9


def test_tensors_and_arrays_give_the_same(rows):
    def decode(*inputs):
        return torch.from_numpy(oracle_decode(*(values.double().numpy() for values in inputs)))

    tensors = [torch.from_numpy(values) for values in (rows.coarse, rows.fine, rows.condition)]
    result = ground_truth_routing(decode, *tensors, rows.condition)
    assert result.signed == pytest.approx(oracle_routing(rows.table).signed, abs=1e-3)


def test_factors_are_in_standard_deviations(rows):
    # 625 subjects share half of the variance
    factors = factors_of(simulate(20000, 1))
    np.testing.assert_allclose(factors.std(axis=0), 1, atol=0.1)
    np.testing.assert_allclose(factors.mean(axis=0), 0, atol=0.1)


def test_rows_without_factors_are_refused(rows):
    with pytest.raises(UserError, match=r"\['factor_gain'\] are missing"):
        factors_of(rows.table.drop_columns("factor_gain"))
    with pytest.raises(UserError, match=r"\['sex'\] are missing"):
        condition_of(rows.table.drop_columns("sex"))
    with pytest.raises(UserError, match="the same number of rows"):
        routing(rows, oracle_decode, rows.coarse[1:], rows.fine)
