"""Where all differences between trials are noise, the front by means is not fooled."""

from typing import Any

import numpy as np
import pytest

from tests.fixtures.confirming import summary
from tests.fixtures.studies import SmallSearch
from tune.objectives import SPECIFIED
from tune.study.confirmation import next_round
from tune.study.confirmed_trials import mean_loss, with_confirmations
from tune.study.pareto import pareto_front
from tune.study.trial_summary import TrialSummary


class TestNoise:
    """Known answers: the true values of every configuration are known, and each training adds normal noise."""

    TRUTH = np.array([0.5, 0.5])
    SD = 0.1

    def confirmed(self, rng: np.random.Generator, truth: np.ndarray, settings: Any) -> tuple[TrialSummary, ...]:
        """A search of configurations with the true values `truth` [n, 2], and its confirmation."""
        singles = [summary(n, tuple(row)) for n, row in enumerate(rng.normal(truth, self.SD))]
        repetitions = next_round(singles, settings, "s")
        repeated = []
        for n, each in enumerate(repetitions, len(singles)):
            values = tuple(rng.normal(truth[each.number], self.SD))
            repeated.append(summary(n, values, singles[each.number], each.index, len(repetitions)))
        return with_confirmations([*singles, *repeated], SPECIFIED)

    def test_of_pure_noise_the_single_values_promise_what_the_means_do_not(self, small_search: SmallSearch) -> None:
        """All configurations are the same, so every difference is luck. The expected best of 40 normal values lies
        2.16 standard deviations from the mean (Harter 1961, Expected values of normal order statistics)."""
        settings = small_search(confirm={"members": 3, "repeats": 3}).search
        rng = np.random.default_rng(0)
        best_single, best_mean, lost, means = [], [], [], []
        for _ in range(150):
            judged = self.confirmed(rng, np.tile(self.TRUTH, (40, 1)), settings)
            singles = [trial.own_point for trial in judged if trial.repetition is None and trial.own_point]
            members = [trial for trial in judged if trial.point]
            assert len(members) == 3
            best_single.append(min(point[0] for point in singles))
            best_mean.append(min(trial.point[0] for trial in members if trial.point))
            means += [trial.point for trial in members]
            lost.append(mean_loss([trial.confirmed for trial in members if trial.confirmed]))
        assert np.mean(best_single) == pytest.approx(0.5 - 2.16 * self.SD, abs=4 * self.SD * 0.45 / np.sqrt(150))
        error = 4 * self.SD / np.sqrt(len(means) * 3)
        assert np.mean(means, axis=0) == pytest.approx(self.TRUTH, abs=error)  # no bias from the choice
        assert np.all(np.mean(lost, axis=0) > 0.9 * self.SD)  # the winners owe more than a deviation to luck
        # The best of three means of three: 0.846 standard deviations of a mean, and no more.
        assert np.mean(best_mean) == pytest.approx(
            0.5 - 0.846 * self.SD / np.sqrt(3), abs=4 * self.SD / np.sqrt(3 * 150)
        )

    def test_what_is_truly_better_is_found_more_often(self, small_search: SmallSearch) -> None:
        """Configuration 0 is better than the other 30 by one standard deviation in both objectives."""
        settings = small_search(confirm={"members": 5, "repeats": 5}).search
        rng = np.random.default_rng(1)
        truth = np.tile(self.TRUTH, (31, 1))
        truth[0] += np.array([-1, 1]) * self.SD
        found_by_single = found_by_means = shared = 0
        for _ in range(100):
            judged = self.confirmed(rng, truth, settings)
            singles = {
                trial.number: trial.own_point for trial in judged if trial.repetition is None and trial.own_point
            }
            means = {trial.number: trial.point for trial in judged if trial.point}
            found_by_single += pareto_front(singles, SPECIFIED) == [0]
            front = pareto_front(means, SPECIFIED)
            found_by_means += front == [0]
            shared += 0 in means
        assert found_by_means > 3 * max(found_by_single, 5)
        assert found_by_means > 0.4 * shared
