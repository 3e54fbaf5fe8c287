"""Which trials are confirmed, and how a ledger hands out, suspends and ends their repetitions."""

import json
from collections import Counter

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from tests.fixtures.confirming import REPEATED, SINGLE, Search, again, given, places
from tests.fixtures.studies import SmallSearch
from tune.config import Confirmation
from tune.objectives import SPECIFIED
from tune.study.confirmation import promising
from tune.study.initial_trials import enqueue_first_trials
from tune.study.leases import study_id
from tune.study.lock import locked_folder
from tune.study.opening import n_finished, open_study
from tune.study.outcome import Outcome
from tune.study.pareto import hypervolume, pareto_front
from tune.study.repetition import repetition_of


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
