"""Confirmation without Ray: trials and repetitions end with given values, as a search would record them."""

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from hcvae.data.dataset import prepare
from hcvae.errors import UserError
from tests.fixtures.studies import SmallSearch, small_search_config
from tune.config import Confirmation, SearchConfig
from tune.early_stopping.actor import Decisions, reported_at_rungs
from tune.objectives import SPECIFIED, Point, names_of
from tune.pareto import hypervolume, pareto_front
from tune.placement.folds import prepare_folds
from tune.report.front_table import with_sd
from tune.report.html import html_report
from tune.report.progress import JsonProgress, LineProgress
from tune.report.results import SearchResult
from tune.study.budget import Budget
from tune.study.configurations import mean_loss, with_confirmations
from tune.study.confirmation import next_round, promising
from tune.study.folder import StudyFolder
from tune.study.initial_trials import enqueue_first_trials
from tune.study.leases import Leases, study_id
from tune.study.ledger import Assignment, TrialLedger
from tune.study.lock import LockedFolder, locked_folder
from tune.study.opening import check_folder, n_finished, open_study
from tune.study.outcome import Outcome
from tune.study.pareto_archive import ParetoArchive
from tune.study.repetition import Repetition, check_confirmation, check_continued, repetition_of
from tune.study.samplers import ask, make_sampler
from tune.study.trial_summary import TrialSummary

SINGLE: list[Point] = [(0.5, 0.5), (0.2, 0.3), (0.4, 0.8), (0.6, 0.4)]
"""Of four trials: the front is 1 and 2, and 2 is the compromise: nearer to (0, 1)."""
REPEATED: dict[int, list[Point]] = {1: [(0.3, 0.6), (0.2, 0.8)], 2: [(0.5, 0.5), (0.7, 0.6)]}
"""Of the two repetitions of each: the means of 1, (0.25, 0.7), dominate those of 2, (0.6, 0.55)."""


class Search:
    """One process that searches in a study; the test decides how its trials end."""

    def __init__(self, folder: LockedFolder, config: SearchConfig, alone: bool = True) -> None:
        self.folder, self.config = folder, config
        self.study = open_study(folder, config, "data")
        self.archive = ParetoArchive.open(folder, self.study, SPECIFIED)
        self.events = io.StringIO()
        progress = JsonProgress(config, self.archive, Counter(), self.events)
        budget = Budget(config.search, self.study)
        self.ledger = TrialLedger(self.study, folder.database, config, self.archive, budget, progress)
        self.ledger.leases = Leases(self.study, alone=alone)

    def end(self, assignment: Assignment, values: Point | None) -> None:
        """End a trial as its process would: with a bundle, or without values."""
        if values is None:
            self.ledger.end(assignment.trial, Outcome(state="failed", failure="TrainingDiverged: loss is nan"))
            return
        bundle = assignment.place / "bundle"
        assignment.identity.write(assignment.place)
        assignment.identity.model_copy(update={"values": values}).write(bundle)
        (bundle / "model.safetensors").write(str(values).encode())
        metrics = dict(zip(names_of(SPECIFIED), values, strict=True))
        (bundle / "metrics.json").write(json.dumps({"validation": metrics, "test": metrics}).encode())
        self.ledger.end(assignment.trial, Outcome(state="complete", values=values, best_epoch=1))

    def run(self, values: Callable[[Assignment], Point | None], most: int = 100) -> list[Assignment]:
        """Hand out and end up to `most` trials, one after the other; return them."""
        done = []
        while len(done) < most and (assignment := self.ledger.hand_out()):
            self.end(assignment, values(assignment))
            done.append(assignment)
        return done

    @property
    def result(self) -> SearchResult:
        return SearchResult.open(self.folder.place)


def given(assignment: Assignment) -> Point:
    if assignment.repetition is None:
        return SINGLE[assignment.trial.number]
    return REPEATED[assignment.repetition.number][assignment.repetition.index - 1]


def confirming(small_search: SmallSearch, **confirm: Any) -> SearchConfig:
    return small_search(trials=4, confirm={"members": 2, "repeats": 2, **confirm})


def again(search: Search, **settings: Any) -> Search:
    """The same command after a kill, or with other settings."""
    return Search(search.folder, search.config.with_settings(**settings))


@pytest.fixture
def search(small_search: SmallSearch) -> Iterator[Search]:
    config = confirming(small_search)
    with locked_folder(config) as folder:
        yield Search(folder, config)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Search]:
    """A search that has confirmed its two most promising trials; only read it."""
    storage = tmp_path_factory.mktemp("finished")
    config = small_search_config(storage, trials=4, confirm={"members": 2, "repeats": 2})
    with locked_folder(config) as folder:
        search = Search(folder, config)
        search.run(given)
        yield search


def places(search: Search) -> list[tuple[int, int]]:
    """The trial and the index of every repetition in the study."""
    identity = study_id(search.study)
    found = [repetition_of(trial, identity) for trial in search.study.get_trials(deepcopy=False)]
    return [(each.number, each.index) for each in found if each]


class TestChoice:
    def test_the_compromise_is_first_then_what_enlarges_the_hypervolume_most(self) -> None:
        points = {0: (0.1, 0.1), 1: (0.3, 0.7), 2: (0.5, 0.9), 3: (0.9, 0.95), 4: (0.35, 0.65), 5: (0.8, 0.2)}
        chosen = promising(points, 4, SPECIFIED)
        assert chosen[0] == 1  # farthest beyond the chord from 0 to 3
        left = set(pareto_front(points, SPECIFIED)) - {1}
        gains = {number: hypervolume({1: points[1], number: points[number]}, SPECIFIED) for number in left}
        assert chosen[1] == max(gains, key=lambda number: gains[number])
        assert set(chosen) == {0, 1, 2, 3}
        assert promising(points, 5, SPECIFIED)[4] == 4  # the second front
        assert promising(points, 9, SPECIFIED)[5:] == [5]
        assert promising({}, 3, SPECIFIED) == []

    def test_a_single_member_is_the_compromise(self) -> None:
        assert promising(dict(enumerate(SINGLE)), 1, SPECIFIED) == [2]


class TestLedger:
    def test_the_most_promising_are_trained_again_after_the_budget(self, search: Search) -> None:
        done = search.run(given)
        assert [each.repetition is None for each in done] == [True] * 4 + [False] * 4
        repetitions = [(each.repetition.number, each.repetition.index) for each in done if each.repetition]
        assert repetitions == [(2, 1), (1, 1), (2, 2), (1, 2)]
        first = {each.trial.number: each for each in done}
        for each in done[4:]:
            assert each.repetition
            assert each.params == first[each.repetition.number].params
            assert each.earlier == ()
            trained = each.repetition.applied(search.config)
            assert trained.training.seed == search.config.training.seed + each.repetition.index
            assert trained.model == search.config.model
        assert n_finished(search.study) == 4
        assert search.ledger.look() == (False, [])

    def test_null_confirms_nothing(self, small_search: SmallSearch) -> None:
        config = small_search(trials=4)
        with locked_folder(config) as folder:
            search = Search(folder, config)
            assert len(search.run(given)) == 4
            assert [trial.number for trial in search.result.pareto] == [1, 2]

    def test_no_round_begins_while_a_trial_is_running(self, search: Search) -> None:
        search.run(given, most=3)
        last = search.ledger.hand_out()
        assert last is not None
        assert search.ledger.hand_out() is None
        search.end(last, SINGLE[3])
        assert search.ledger.look() == (True, [])
        repetition = search.ledger.hand_out()
        assert repetition is not None
        assert repetition.repetition is not None

    def test_a_killed_confirmation_goes_on_and_trains_nothing_twice(self, search: Search) -> None:
        search.run(given, most=5)
        interrupted = search.ledger.hand_out()
        assert interrupted is not None
        other = again(search)
        done = other.run(given)
        assert done[0].trial.number == interrupted.trial.number
        assert done[0].repetition == interrupted.repetition
        assert done[0].lease.attempt == 2
        assert len(done) == 3
        assert sorted(places(other)) == [(1, 1), (1, 2), (2, 1), (2, 2)]
        assert [trial.state for trial in other.study.trials] == [TrialState.COMPLETE] * 8

    def test_a_round_that_cannot_be_written_whole_is_not_begun(
        self, search: Search, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        search.run(given, most=4)
        add_trial = optuna.Study.add_trial

        def killed(study: optuna.Study, trial: FrozenTrial) -> None:
            if len(study.get_trials(deepcopy=False)) == 6:
                raise KeyboardInterrupt
            add_trial(study, trial)

        monkeypatch.setattr(optuna.Study, "add_trial", killed)
        with pytest.raises(KeyboardInterrupt):
            search.ledger.hand_out()
        monkeypatch.undo()
        assert places(search) == []
        assert len(again(search).run(given)) == 4

    def test_two_processes_begin_one_round(self, search: Search) -> None:
        search.run(given, most=4)
        processes = [Search(search.folder, search.config, alone=False) for _ in range(2)]
        running = [processes[n % 2].ledger.hand_out() for n in range(6)]
        assert [each is None for each in running] == [False] * 4 + [True] * 2
        assert sorted(places(search)) == [(1, 1), (1, 2), (2, 1), (2, 2)]
        for n, each in enumerate(running[:4]):
            assert each is not None
            processes[n % 2].end(each, given(each))
        for process in processes:
            assert process.ledger.look() == (False, [])
            assert [member.number for member in process.archive.members] == [1]

    def test_after_the_search_s_time_suspended_trials_wait_and_repetitions_run(self, small_search: SmallSearch) -> None:
        config = small_search(trials=100, search_seconds=1e-9, confirm={"members": 1, "repeats": 2})
        with locked_folder(config) as folder:
            started = Search(folder, config.with_settings(search_seconds=None))
            started.run(given, most=2)
            suspended = started.ledger.hand_out()
            assert suspended is not None
            started.ledger.end(suspended.trial, Outcome(state="suspended", stopped="search.search_seconds"))
            done = Search(folder, config).run(lambda each: (0.3, 0.3))
            assert [each.repetition and each.repetition.number for each in done] == [0, 0]  # nearest to the ideal
            assert started.study.trials[2].state == TrialState.RUNNING

    def test_raised_numbers_add_what_is_missing(self, search: Search) -> None:
        search.run(given)
        wanted = again(search, confirm=Confirmation(members=3, repeats=3))
        done = wanted.run(lambda each: (0.3, 0.3))
        assert [(each.repetition.number, each.repetition.index) for each in done if each.repetition] == [
            *[(0, 1), (0, 2)],
            *[(2, 3), (1, 3), (0, 3)],
        ]
        assert {each.repetition.round for each in done if each.repetition} == {2}
        assert again(wanted).run(given) == []

    def test_after_more_trials_the_choice_is_made_again(self, search: Search) -> None:
        search.run(given)
        longer = again(search, trials=5)
        done = longer.run(lambda each: (0.1, 0.9))
        assert [each.repetition and (each.repetition.number, each.repetition.index) for each in done] == [
            None,
            *[(8, 1), (8, 2)],
        ]
        assert [member.number for member in longer.archive.members] == [8]

    def test_repetitions_take_no_room_from_the_first_trials_of_a_larger_budget(self, search: Search) -> None:
        search.run(given)
        longer = again(search, trials=5, start_from_defaults=True)
        enqueue_first_trials(longer.study, longer.config)
        assert len(longer.study.get_trials(states=(TrialState.WAITING,))) == 1

    def test_a_repetition_whose_parameters_are_refused_fails_and_the_others_run(self, search: Search) -> None:
        search.run(given, most=4)
        path = "training.loss_weights.swap"
        weights = {number: search.study.trials[number].params[path] for number in REPEATED}
        refused, accepted = sorted(weights, key=lambda number: weights[number], reverse=True)
        space = dict(search.config.search.space)
        space[path] = space[path].model_copy(update={"high": (weights[1] + weights[2]) / 2})
        config = search.config.with_settings(space=space)
        open_study(search.folder, config, "data", allow_change=True)
        other = Search(search.folder, config)
        while other.ledger.look()[0]:
            other.run(given)
        ended = Counter(
            (each.number, trial.state)
            for trial in other.study.trials
            if (each := repetition_of(trial, study_id(other.study)))
        )
        assert ended == {(refused, TrialState.FAIL): 2, (accepted, TrialState.COMPLETE): 2}
        assert [trial.number for trial in other.result.pareto] == [accepted]

    def test_a_repetition_that_another_program_ends_holds_up_nothing(self, search: Search) -> None:
        search.run(given, most=5)
        waiting = search.study.get_trials(states=(TrialState.WAITING,))[0]
        search.study._storage.set_trial_state_values(waiting._trial_id, TrialState.FAIL)
        assert len(search.run(given)) == 2
        [trial] = [trial for trial in search.result.confirmed if trial.confirmed and trial.confirmed.failed]
        assert trial.confirmed
        assert trial.confirmed.failed == (waiting.number,)

    def test_a_repetition_that_another_program_runs_is_waited_for(self, search: Search) -> None:
        search.run(given, most=5)
        taken = search.study.ask()
        assert len(search.run(given)) == 2
        assert search.ledger.look() == (False, [])
        assert [trial.number for trial in search.result.pareto] == [1, 2]
        search.study.tell(taken, state=TrialState.FAIL)
        assert search.run(given) == []
        assert [trial.number for trial in search.result.pareto] == [1]

    def test_the_events_tell_repetitions_apart(self, finished: Search) -> None:
        events = [json.loads(line) for line in finished.events.getvalue().splitlines()]
        finished = [event for event in events if event["event"] == "finished"]
        assert [event["repetition"] and event["repetition"]["number"] for event in finished] == [
            *[None] * 4,
            *[2, 1, 2, 1],
        ]
        assert finished[-1]["front"] == [1]
        assert finished[-2]["front"] == [1, 2]


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


def summary(number: int, point: Point, of: TrialSummary | None = None, index: int = 0, size: int = 0) -> TrialSummary:
    """A complete trial, or a repetition of one, without a study."""
    repetition = None
    if of is not None:
        where = {"study": "s", "number": of.number, "trial": of.identity, "by": "seeds"}
        repetition = Repetition.model_validate(where | {"index": index, "round": 1, "size": size})
    missing: dict[str, Any] = dict.fromkeys(("best_epoch", "seconds", "failure", "figure_failure"))
    values = {"reconstruction_nmse": point[0], "disentanglement": point[1]}
    content = {"number": number, "identity": f"id-{number}", "state": "complete", "troubles": (), "params": {}}
    return TrialSummary.model_validate(missing | content | values | {"repetition": repetition})


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


class TestSettings:
    @pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2"])
    def test_the_sampler_does_not_see_repetitions(self, small_search: SmallSearch, sampler: str) -> None:
        """With and without a confirmation before them, the next trials are the same."""
        space = {"training.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}}
        config = small_search(sampler=sampler, space=space)
        sampled = []
        for n_repetitions in (0, 6):
            study = optuna.create_study(directions=["minimize", "maximize"], sampler=make_sampler(config, 0))
            for n in range(60):
                study.add_trial(self.complete(n, {}))
            for n in range(n_repetitions):
                study.add_trial(self.complete(n, {"repetition": {}}))
            sampled.append(ask(study, config)[1])
        assert sampled[0] == sampled[1]

    @staticmethod
    def complete(n: int, attributes: dict[str, Any]) -> FrozenTrial:
        """A trial at one of 60 learning rates; a repetition of it is better than all of them."""
        made = optuna.trial.create_trial(
            params={"training.learning_rate": 1e-4 * 10 ** (n / 30)},
            distributions={"training.learning_rate": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)},
            values=(0.0, 1.0) if attributes else (abs(n - 40) / 60, 0.5),
            system_attrs={**attributes, "NSGAIISampler:generation": n // 50},
        )
        return made

    def test_neither_the_rule_nor_a_budget_stops_a_repetition(self, small_search: SmallSearch) -> None:
        early = {"eta": 2, "min_epochs": 1}
        config = small_search(training={"epochs": 8}, early_stopping=early, trial_seconds=1, search_seconds=1e-9)
        decisions = Decisions(config, {0: {1: (0.1, 0.9)}, 1: {1: (0.1, 0.9)}})
        worst = {"epoch": 1.0, "reconstruction_nmse": 9.0, "disentanglement": -1.0, "seconds_so_far": 99.0}
        assert decisions.decide(7, 1, worst, is_limited=False) is None
        decisions.end(7, 1, "adopted")
        assert decisions.decide(7, 1, worst, is_limited=False) is not None
        assert decisions.decide(8, 1, worst) is not None

    def test_no_trial_is_compared_with_a_repetition(self, search: Search) -> None:
        search.run(given, most=4)
        for _ in range(2):
            assignment = search.ledger.hand_out()
            assert assignment
            metrics = {"epoch": 1, "reconstruction_nmse": 0.5, "disentanglement": 0.5}
            search.ledger.record_epoch(assignment.trial, metrics)
        assert reported_at_rungs(search.study, (1,), SPECIFIED).keys() == {0, 1, 2, 3}

    def test_it_can_be_added_to_a_finished_study_and_changed(self, small_search: SmallSearch) -> None:
        config = small_search(trials=4)
        with locked_folder(config) as folder:
            search = Search(folder, config)
            search.run(given)
            confirm = config.with_settings(confirm=Confirmation(members=2, repeats=2))
            check_folder(folder, confirm, "data")
            assert len(Search(folder, confirm).run(given)) == 4
            more = config.with_settings(confirm=Confirmation(members=2, repeats=3))
            check_folder(folder, more, "data")
            check_continued(search.study, study_id(search.study), more.search.confirm)
            check_folder(folder, config, "data")
            longer = Confirmation(members=2, repeats=2, epochs=9)
            message = "search.confirm: the repetitions of this study have .by=seeds, epochs=null, .*epochs=9"
            with pytest.raises(UserError, match=message):
                check_continued(search.study, study_id(search.study), longer)

    def test_folds_validate_on_other_subjects_and_cannot_become_more(self, small_search: SmallSearch) -> None:
        config = confirming(small_search, by="folds")
        with locked_folder(config) as folder:
            search = Search(folder, config)
            done = search.run(given, most=5)
            trained = search.result.config(done[-1].trial.number)
            assert (trained.data.split.folds, trained.data.split.fold) == (2, 1)
            assert trained.training.seed == config.training.seed + 1
            identity = study_id(search.study)
            more = Confirmation(members=2, repeats=3, by="folds")
            with pytest.raises(UserError, match=r"have \(by=folds, .*, repeats=2\), and .*, repeats=3\) cannot be"):
                check_continued(search.study, identity, more)
            with pytest.raises(UserError, match="null, but the study waits for repetition of trial 1: fold 1 of 2"):
                check_continued(search.study, identity, None)
            search.run(given)
            check_continued(search.study, identity, None)

    def test_the_data_of_folds_are_prepared_for_each(self, small_search: SmallSearch) -> None:
        config = confirming(small_search, by="folds")
        data = prepare(config)
        folds = prepare_folds(config, data)
        assert len(folds) == 2
        validated = [set(fold.split.units[fold.split.validation]) for fold in folds]
        outside = set(data.split.units[data.split.train]) | set(data.split.units[data.split.validation])
        assert validated[0] | validated[1] == outside
        assert not validated[0] & validated[1]
        for fold in folds:
            assert np.array_equal(fold.split.test, data.split.test)
        assert len({fold.fingerprint for fold in (data, *folds)}) == 3
        # Normalised on its own training part: mean 0 there, in each group of the scaling.
        assert abs(float(folds[0].train.signals.mean())) < 1e-3 < abs(float(folds[0].validation.signals.mean()))
        assert prepare_folds(confirming(small_search), data) == ()
        many = confirming(small_search, by="folds", repeats=2000)
        with pytest.raises(UserError, match=r"^search\.confirm, fold 1 of 2000: data\.split\.folds: must be at most"):
            prepare_folds(many, data)

    def test_what_will_be_confirmed_is_said_before_the_search(self) -> None:
        assert str(Confirmation()) == "the 3 most promising trials, each with 3 further seeds"
        one = Confirmation(members=1, repeats=4, by="folds", epochs=90, width=0.5)
        said = "the 1 most promising trial, each with 4 folds of the subjects, training.epochs 90, model.width 0.5"
        assert str(one) == said

    def test_a_searched_field_cannot_be_set(self, small_search: SmallSearch) -> None:
        space = {"model.width": {"type": "float", "low": 0.05, "high": 0.1}}
        with pytest.raises(UserError, match=r"^search\.confirm\.width: model\.width is searched, so 1 would train"):
            check_confirmation(small_search(space=space, confirm={"width": 1}))
        check_confirmation(small_search(space=space, confirm={"epochs": 9}))

    def test_progress_counts_repetitions_apart(self, search: Search) -> None:
        from rich.console import Console

        stream = io.StringIO()
        progress = LineProgress(search.config, search.archive, Counter(), Console(file=stream, width=300))
        search.ledger._events = progress
        for _ in range(8):
            assignment = search.ledger.hand_out()
            assert assignment
            progress.started(assignment.trial.number, assignment.params, assignment.repetition)
            search.end(assignment, given(assignment))
        last = stream.getvalue().splitlines()[-1]
        assert last.startswith("trial 7 (repetition of trial 1: seed +2) complete: reconstruction_nmse 0.2000")
        assert "4/4 finished, 4 complete, 4/4 repetitions" in last
        assert progress.left_s == 0
