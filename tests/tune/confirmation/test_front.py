"""The front, the models and the report use the means of the repetitions."""

import json
import re

import numpy as np
import pytest

from tests.fixtures.confirming import REPEATED, SINGLE, Search, again, confirming, given, summary
from tests.fixtures.studies import SmallSearch
from tune.config import Confirmation
from tune.objectives import SPECIFIED, Point
from tune.report.front_table import with_sd
from tune.report.html import html_report
from tune.study.confirmation import next_round
from tune.study.confirmed_trials import with_confirmations
from tune.study.folder import StudyFolder
from tune.study.ledger import Assignment
from tune.study.lock import locked_folder


class TestFront:
    def test_it_goes_by_the_means_of_the_repetitions_alone(self, finished: Search) -> None:
        result = finished.result
        assert [trial.number for trial in result.pareto] == [1]
        confirmed = {trial.number: trial.confirmed for trial in result.confirmed}
        for number, values in REPEATED.items():
            found = confirmed[number]
            assert found
            assert found.mean == pytest.approx(np.mean(values, axis=0))
            assert found.sd == pytest.approx(np.std(values, axis=0, ddof=1))
            assert found.lost == pytest.approx((np.mean(values, axis=0) - SINGLE[number]) * [1, -1])
        assert result.hypervolume == pytest.approx((1 - 0.25) * 0.7)
        assert [trial.number for trial in result.trials if trial.is_unconfirmed] == [0, 3]
        file = json.loads(finished.folder.pareto.read_text())
        assert [trial["number"] for trial in file["trials"]] == [1]
        assert file["hypervolume"] == pytest.approx(result.hypervolume)
        assert file["trials"][0]["confirmed"]["mean"] == pytest.approx([0.25, 0.7])

    def test_until_the_last_repetition_has_ended_it_goes_by_single_values(self, search: Search) -> None:
        search.run(given, most=7)
        assert [trial.number for trial in search.result.pareto] == [1, 2]
        assert [member.number for member in search.archive.members] == [1, 2]
        assert search.result.confirmed == ()
        assert search.result.confirmation == ()
        search.run(given)
        assert [member.number for member in search.archive.members] == [1]
        assert [member.number for member in again(search).archive.members] == [1]

    def test_failed_repetitions_are_reported_and_survived(self, search: Search) -> None:
        search.run(lambda each: None if each.repetition and each.repetition.index == 2 else given(each))
        result = search.result
        assert [trial.number for trial in result.pareto] == [1]
        found = result.trial(1).confirmed
        assert found
        assert (found.mean, found.sd) == (REPEATED[1][0], None)
        assert len(found.repetitions) == len(found.failed) == 1
        assert f"trial 1: repetitions without values: {found.failed[0]}" in result.confirmation

    def test_where_all_repetitions_of_a_trial_fail_it_leaves_the_front(self, search: Search) -> None:
        search.run(lambda each: None if each.repetition and each.repetition.number == 1 else given(each))
        assert [trial.number for trial in search.result.pareto] == [2]
        assert search.result.trial(1).why_absent == "not confirmed: none of its 2 repetitions is complete"

    def test_where_all_repetitions_fail_nothing_is_confirmed(self, search: Search) -> None:
        search.run(lambda each: None if each.repetition else given(each))
        assert [trial.number for trial in search.result.pareto] == [1, 2]
        assert not any(trial.is_unconfirmed for trial in search.result.trials)
        assert search.result.confirmation[0].startswith("0 trials confirmed")
        assert len(search.result.confirmation) == 3

    def test_the_means_of_violations_decide_whether_it_is_feasible(self) -> None:
        first = summary(0, (0.2, 0.5))
        cases = {(0.3, -0.1): "infeasible: beyond search.constraints: parameters by 0.1", (0.1, -0.3): None}
        for violations, expected in cases.items():
            repeated = []
            for index, violation in enumerate(violations, 1):
                infeasible = "infeasible" if violation > 0 else None
                made = summary(index, (0.3, 0.4), of=first, index=index, size=2)
                update = {"violations": {"parameters": violation}, "infeasible": infeasible}
                repeated.append(made.model_copy(update=update))
            [judged, *_] = with_confirmations([first, *repeated], SPECIFIED)
            assert judged.confirmed
            assert judged.confirmed.infeasible == expected
            assert judged.confirmed.mean == (0.3, 0.4)
            assert judged.confirmed.model == 2  # an infeasible one has no model
            assert with_sd(judged) == ["0.3000 ± 0.0000", "0.4000 ± 0.0000"]  # also where it has no place on the front

    def test_trials_of_an_earlier_version_are_confirmed_by_number(self, small_search: SmallSearch) -> None:
        settings = small_search(confirm={"members": 1, "repeats": 2}).search
        old = [summary(n, point).model_copy(update={"identity": None}) for n, point in enumerate(SINGLE)]
        repetitions = next_round(old, settings, "s")
        assert [(each.number, each.trial, each.index) for each in repetitions] == [(2, None, 1), (2, None, 2)]
        repeated = []
        for number, each in enumerate(repetitions, len(old)):
            repeated.append(summary(number, (0.3, 0.3)).model_copy(update={"repetition": each}))
        judged = with_confirmations([*old, *repeated], SPECIFIED)
        assert {trial.number: trial.point for trial in judged if trial.point} == {2: (0.3, 0.3)}
        assert next_round([*old, *repeated], settings, "s") == []

    def test_other_epochs_are_not_compared_with_those_of_the_search(self, small_search: SmallSearch) -> None:
        config = confirming(small_search, epochs=7, width=0.1)
        with locked_folder(config) as folder:
            search = Search(folder, config)
            done = search.run(given)
            trained = search.result.config(done[-1].trial.number)
            assert (trained.training.epochs, trained.model.width) == (7, 0.1)
            assert trained.training.seed == config.training.seed + 2
            assert search.result.config(1).training.epochs == 2
            assert [trial.confirmed and trial.confirmed.lost for trial in search.result.confirmed] == [None, None]
            assert not any("on average" in line for line in search.result.confirmation)
            assert "so not compared with the values of the search" in html_report(StudyFolder(folder.place))


class TestModels:
    def test_the_models_of_all_repetitions_are_kept_and_the_nearest_stands_for_the_trial(self, search: Search) -> None:
        values = {1: [(0.3, 0.6), (0.2, 0.8), (0.26, 0.71)], 2: [(0.5, 0.5), (0.7, 0.6), (0.6, 0.5)]}
        other = again(search, confirm=Confirmation(members=2, repeats=3))

        def told(each: Assignment) -> Point:
            if each.repetition is None:
                return SINGLE[each.trial.number]
            return values[each.repetition.number][each.repetition.index - 1]

        done = other.run(told)
        result = other.result
        repetitions = {each.trial.number for each in done if each.repetition}
        assert result.models.keys() == {1, 2} | repetitions
        assert result.models.keys() == again(other).result.models.keys()
        place = result.bundle(result.compromise().number)
        assert (place / "model.safetensors").read_text() == "(0.26, 0.71)"  # nearest to (0.2533, 0.7033)
        assert result.bundle(done[4].trial.number).name == f"trial-{done[4].trial.number}"

    def test_the_report_shows_means_with_deviations_and_what_was_lost(self, finished: Search) -> None:
        page = re.sub(r"\s+", " ", html_report(StudyFolder(finished.folder.place)))
        sd = np.std([value[0] for value in REPEATED[1]], ddof=1)
        assert f"<td>0.2500 ± {sd:.4f}</td> <td>+0.0500</td>" in page
        assert "of which 4 are repetitions" in page
        assert "not confirmed" in page
        mean_lost = ((0.25 - 0.2) + (0.6 - 0.4)) / 2
        assert f"<td>{mean_lost:+.4f}</td>" in page
        assert "repetition of trial 1: seed +2" in page

    def test_the_table_has_deviations(self, finished: Search) -> None:
        [row] = finished.result.table().rows
        sds = np.std(REPEATED[1], axis=0, ddof=1)
        assert row[:3] == ("1 *", f"0.2500 ± {sds[0]:.4f}", f"0.7000 ± {sds[1]:.4f}")
        frame = finished.result.to_pandas()
        assert frame.loc[1, "disentanglement_sd"] == pytest.approx(sds[1])
        assert frame.loc[5, "confirms"] in (1, 2)
