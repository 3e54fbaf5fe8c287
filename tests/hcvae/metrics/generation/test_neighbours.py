import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn import config_context

from hcvae.errors import UserError
from hcvae.metrics.generation import (
    expected_coverage,
    physiological_features,
    precision_recall_density_coverage,
    standardised,
)


def by_definition(real, generated, k):
    """The four sums of the papers, pair by pair."""

    def radius(rows, i):
        return sorted(np.linalg.norm(row - rows[i]) for j, row in enumerate(rows) if j != i)[k - 1]

    in_real = [[np.linalg.norm(x - y) <= radius(real, i) for i, x in enumerate(real)] for y in generated]
    in_generated = [[np.linalg.norm(x - y) <= radius(generated, j) for j, y in enumerate(generated)] for x in real]
    return {
        "precision": sum(map(any, in_real)) / len(generated),
        "recall": sum(map(any, in_generated)) / len(real),
        "density": sum(map(sum, in_real)) / (k * len(generated)),
        "coverage": sum(map(any, zip(*in_real, strict=True))) / len(real),
    }


@pytest.mark.parametrize("k", [1, 4])
def test_the_published_definitions(k):
    random = np.random.default_rng(k)
    real, generated = random.normal(size=(25, 3)), random.normal(0.4, 1.3, size=(35, 3))
    assert vars(precision_recall_density_coverage(real, generated, k)) == pytest.approx(
        by_definition(real, generated, k)
    )


def test_chunks_of_distances_give_the_same_result():
    random = np.random.default_rng(5)
    real, generated = random.normal(size=(1500, 2)), random.normal(0.3, 1.1, size=(700, 2))
    with config_context(working_memory=1):  # MiB: 187 rows at a time
        chunked = precision_recall_density_coverage(real, generated)
    radius = np.sort(cdist(real, real))[:, 5]  # column 0 is the row itself
    inside = cdist(real, generated) <= radius[:, None]
    assert chunked.coverage == np.mean(inside.any(axis=1))
    assert chunked.precision == np.mean(inside.any(axis=0))
    assert chunked.density == pytest.approx(inside.sum() / (5 * 700))


def test_a_perfect_copy():
    rows = np.random.default_rng(0).normal(size=(100, 4))
    result = precision_recall_density_coverage(rows, rows)
    assert (result.precision, result.recall, result.coverage) == (1, 1, 1)
    assert result.density == pytest.approx(6 / 5)  # the mean row is in the balls of 5 others, and in its own


def test_disjoint_supports():
    rows = np.random.default_rng(0).normal(size=(100, 4))
    assert set(vars(precision_recall_density_coverage(rows, rows + 100)).values()) == {0.0}


def test_a_collapsed_generator_is_precise_but_covers_little():
    real = np.random.default_rng(0).normal(size=(500, 4))
    result = precision_recall_density_coverage(real, np.full((500, 4), 0.01))
    assert result.precision == 1
    assert result.recall == 0
    assert result.coverage < 0.1


@pytest.mark.parametrize(("n", "k"), [(10_000, 5), (50, 3)])
def test_expected_coverage_of_equal_numbers_is_the_published_one(n, k):
    published = 1 - np.prod([(n - j) / (2 * n - j) for j in range(1, k + 1)])
    assert expected_coverage(n, n, k) == pytest.approx(published)


def test_naeem_et_al_chose_5_neighbours_for_a_coverage_above_95_percent():
    assert expected_coverage(10_000, 10_000, 4) < 0.95 < expected_coverage(10_000, 10_000, 5)


@pytest.mark.parametrize(("n", "m", "k"), [(20, 60, 2), (60, 20, 5), (30, 30, 3)])
def test_expected_coverage_agrees_with_simulation(n, m, k):
    random = np.random.default_rng(0)
    found = [
        precision_recall_density_coverage(random.normal(size=(n, 2)), random.normal(size=(m, 2)), k).coverage
        for _ in range(150)
    ]
    assert np.mean(found) == pytest.approx(expected_coverage(n, m, k), abs=4 * np.std(found) / np.sqrt(len(found)))
    assert np.std(found) / np.sqrt(len(found)) < 0.02


def test_new_recordings_cover_as_much_as_expected(recorded, resampled):
    features = (physiological_features(rows.signals, 20_000.0)[0] for rows in (recorded, resampled))
    result = precision_recall_density_coverage(*standardised(*features))
    assert result.coverage == pytest.approx(expected_coverage(2000, 2000), abs=0.02)
    assert result.density == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("k", [0, 5])
def test_a_k_without_a_neighbour_is_refused(k):
    with pytest.raises(UserError, match=r"k: .* got 0|real: must have at least 6 rows, but got 5"):
        precision_recall_density_coverage(np.eye(5)[:, :2], np.eye(9)[:, :2], k)
    with pytest.raises(UserError, match=f"1 <= k < n_real .* got k={k}, n_real=5, n_generated=9"):
        expected_coverage(5, 9, k)
