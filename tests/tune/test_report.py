import json
import random
import re
from datetime import datetime, timedelta
from html.parser import HTMLParser

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hcvae.errors import UserError
from hcvae.storage import StoragePath
from tests.fixtures.contrast import contrast
from tests.fixtures.studies import SmallSearch
from tune.config import SearchConfig
from tune.objectives import SPECIFIED
from tune.report.charts import CHOSEN, EARLY, LATE, LINE, Timeline, hypervolume_chart, parallel_chart, pareto_chart
from tune.report.html import html_report, param_importances
from tune.study.artifacts import upload
from tune.study.folder import StudyFolder
from tune.study.lock import locked_folder
from tune.study.opening import open_study
from tune.study.pareto import hypervolume

EVIL = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>\"'&"
BEGAN = datetime(2026, 1, 1, 12)
PNG = b"\x89PNG\r\n\x1a\n what a browser would decode"


@pytest.fixture
def begun(small_search: SmallSearch) -> StudyFolder:
    """A study without trials."""
    config = small_search()
    with locked_folder(config) as folder:
        open_study(folder, config, "f" * 64)
    return folder


def trial(values: tuple[float, float] | None, minute: float = 1, **attributes: object) -> FrozenTrial:
    """A finished trial that ended some minutes after the study began; without values it failed."""
    made = create_trial(
        state=TrialState.COMPLETE if values else TrialState.FAIL,
        values=values,
        user_attrs=attributes,
        system_attrs={"claim": {"attempt": 1, "trial": "a trial", "values": values}},
        params={"kind": EVIL, "rate": 0.01},
        distributions={
            "kind": CategoricalDistribution([EVIL, "other"]),
            "rate": FloatDistribution(1e-4, 1.0, log=True),
        },
    )
    made.datetime_start, made.datetime_complete = BEGAN, BEGAN + timedelta(minutes=minute)
    return made


class Page(HTMLParser):
    """What a browser makes of a page: its elements and its visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(text)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts.append(data)
        else:
            self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def page_of(folder: StudyFolder) -> Page:
    return Page(html_report(folder))


class TestPage:
    def test_whatever_the_study_holds_is_text(self, begun: StudyFolder, tmp_path) -> None:
        study = begun.load()
        study.add_trial(trial(None, failure=EVIL, traceback=EVIL, **{EVIL: EVIL}))
        study.add_trial(trial((0.5, 0.1), diagnosis=[{"trouble": EVIL, "evidence": EVIL, "remedy": EVIL}]))
        study.add_trial(trial((0.4, 0.2), figure_failure=EVIL))
        page = page_of(begun)
        # Plotly's program, one script a chart (front, hypervolume, parallel coordinates), and the page's own.
        assert page.count("script") == 5
        assert page.count("img") == 0
        assert page.text.count(EVIL) >= 6  # failure, trouble, figure failure, and the parameter of each trial
        for script in page.scripts[1:-1]:
            assert "Plotly.newPlot" in script
            assert "<script" not in script
        assert all(not name.startswith("on") for _, attributes in page.elements for name in attributes)

    def test_labels_of_charts_are_escaped_for_plotly(self, begun: StudyFolder) -> None:
        timeline = Timeline.of([trial((0.5, 0.1))], BEGAN, SPECIFIED)
        labels = [pareto_chart(timeline).data[-2].text[0], parallel_chart(timeline, ["kind"]).data[0].dimensions[0]]
        for label in (labels[0], labels[1].ticktext[0]):
            assert "&lt;/script&gt;&lt;script&gt;" in label
            assert "<script" not in label

    def test_nothing_is_fetched(self, begun: StudyFolder) -> None:
        begun.load().add_trial(trial((0.5, 0.1)))
        page = page_of(begun)
        links = [
            value for _, attributes in page.elements for name, value in attributes.items() if name in ("src", "href")
        ]
        assert links == []
        policies = [a.get("content") for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
        assert str(policies[0]).startswith("default-src 'none';")

    def test_every_trial_is_in_the_table(self, begun: StudyFolder) -> None:
        study = begun.load()
        study.add_trial(trial(None, failure="TrainingDiverged: loss is nan"))
        study.add_trial(trial((0.51234, 0.12345), best_epoch=7))
        study.ask()
        page = page_of(begun)
        assert page.count("tr") == 1 + 3
        for text in (
            "1 fail, 1 complete, 1 running",
            "TrainingDiverged: loss is nan",
            "1 compromise 0.5123 0.1235 complete 7",
        ):
            assert text in page.text
        assert "One trial is complete: the front is that trial" in page.text
        record = begun.read_record()
        assert str(record.git_revision) in page.text
        assert record.data_fingerprint in page.text

    def test_the_front_comes_first_and_trials_without_values_last(self, begun: StudyFolder) -> None:
        study = begun.load()
        study.add_trial(trial(None, failure="no"))
        for values in ((0.6, 0.05), (0.5, 0.9), (0.3, 0.05), (0.2, 0.02), (0.25, 0.6)):
            study.add_trial(trial(values))
        study.ask()
        table = page_of(begun).text.partition("The buttons of the header")[2]
        rows = re.findall(r"(\d+) ((?:knee |front )?)(?:0\.\d{4} 0\.\d{4} )?(complete|fail|running)", table)
        assert rows == [
            ("4", "front ", "complete"),
            ("5", "knee ", "complete"),
            ("2", "front ", "complete"),
            ("3", "", "complete"),
            ("1", "", "complete"),
            ("0", "", "fail"),
            ("6", "", "running"),
        ]

    def test_the_configuration_is_in_it(self, begun: StudyFolder) -> None:
        configuration = page_of(begun).text.partition("Configuration ")[2]
        content, _ = json.JSONDecoder().raw_decode(configuration)
        assert SearchConfig.model_validate(content) == begun.read_record().config

    def test_attributes_of_another_kind_are_named(self, begun: StudyFolder) -> None:
        begun.load().add_trial(trial((0.5, 0.1), best_epoch="the last", diagnosis=5))
        assert "another program has replaced: best_epoch, troubles" in page_of(begun).text

    def test_a_study_without_a_complete_trial_says_so(self, begun: StudyFolder) -> None:
        assert "No trial is complete yet" in page_of(begun).text
        study = begun.load()
        study.ask()
        study.add_trial(trial(None, failure="no"))
        page = page_of(begun)
        assert "No trial is complete yet" in page.text
        assert page.count("script") == 1

    def test_figures_of_the_front_are_inside(self, begun: StudyFolder, tmp_path, tell_trained) -> None:
        study = begun.load()
        for values in ((0.5, 0.1), (0.4, 0.2)):
            file = tmp_path / f"{values[0]}.png"
            file.write_bytes(PNG)
            asked = study.ask()
            upload(begun, asked, StoragePath.of(tmp_path), [file.name])
            tell_trained(study, asked, values)
        page = page_of(begun)
        [image] = [attributes for name, attributes in page.elements if name == "img"]  # of trial 1; 0 is dominated
        assert image["alt"] == "trial 1: 0.4.png"
        assert str(image["src"]).startswith("data:image/png;base64,iVBORw0KGgo")
        begun.artifacts.remove()
        assert "No figures" in page_of(begun).text

    def test_where_no_study_is_there_is_no_page(self, tmp_path) -> None:
        with pytest.raises(UserError, match="no study here"):
            html_report(StudyFolder(tmp_path))


def random_timeline(count: int = 40) -> Timeline:
    draws = random.Random(0)
    trials = [trial((draws.random(), draws.random()), minute=draws.random() * 60) for _ in range(count)]
    for number, made in enumerate(trials):
        made.number = number
    return Timeline.of(trials, BEGAN, SPECIFIED)


class TestCharts:
    def test_the_front_after_each_trial_is_optuna_s(self) -> None:
        timeline = random_timeline()
        study = optuna.create_study(directions=["minimize", "maximize"])
        for made, front in zip(timeline.trials, timeline.fronts(), strict=True):
            study.add_trial(made)
            assert sorted(front.values()) == sorted((t.values[0], t.values[1]) for t in study.best_trials)

    def test_hypervolume_is_of_all_that_had_ended(self) -> None:
        timeline = random_timeline()
        line = hypervolume_chart(timeline).data[0]
        assert list(line.x) == [0, *sorted(timeline.times)]
        for count in (1, 7, 40):
            points = dict(list(timeline.points.items())[:count])
            assert line.y[count] == pytest.approx(hypervolume(points, SPECIFIED))

    def test_times_are_in_a_unit_that_fits(self) -> None:
        short = Timeline.of([trial((0.5, 0.1), minute=90)], BEGAN, SPECIFIED)
        long = Timeline.of([trial((0.5, 0.1), minute=600)], BEGAN, SPECIFIED)
        assert (short.times, short.unit) == ([90], "minutes")
        assert (long.times, long.unit) == ([10], "hours")

    def test_lines_have_contrast_on_the_light_and_the_dark_page(self) -> None:
        for color in (EARLY, LATE, CHOSEN, LINE):
            for paper in ("#FFFFFF", "#16181C"):
                assert contrast(color, paper) >= 3

    def test_parallel_coordinates(self) -> None:
        timeline = random_timeline(3)
        kind, rate, nmse, disentanglement = parallel_chart(timeline, ["kind", "rate"]).data[0].dimensions
        assert list(kind["values"]) == [0, 0, 0]
        assert len(kind.ticktext) == 2
        assert list(rate["values"]) == pytest.approx([-2, -2, -2])
        assert rate.ticktext[0] == "0.01"
        assert list(zip(nmse["values"], disentanglement["values"], strict=True)) == list(timeline.points.values())

    def test_importances_find_the_parameter_that_matters(self) -> None:
        """What makes disentanglement high is not what makes it low: the third, where the second is below 75."""
        trials = []
        names = ("first", "second", "third")
        spaces: dict[str, BaseDistribution] = {name: IntDistribution(0, 99) for name in names}
        draws = random.Random(0)
        for _ in range(60):
            params = {name: draws.randrange(100) for name in names}
            values = (params["first"], params["second"] + 100 if params["second"] >= 75 else params["third"])
            trials.append(create_trial(params=params, distributions=spaces, values=values))
        found = param_importances(trials, SPECIFIED)
        assert found is not None
        assert max(found["reconstruction_nmse"].items(), key=lambda item: item[1])[0] == "first"
        assert max(found["disentanglement"].items(), key=lambda item: item[1])[0] == "second"
        assert param_importances(trials, SPECIFIED) == found

    def test_too_few_trials_have_no_importances(self, begun: StudyFolder) -> None:
        study = begun.load()
        for _ in range(19):
            study.add_trial(trial((0.5, 0.1)))
        assert "need at least 20 complete ones, but there are 19" in page_of(begun).text
        study.add_trial(trial((0.4, 0.1)))
        page = page_of(begun)
        assert "need at least" not in page.text
        assert page.count("script") == 6


@pytest.mark.parametrize(("values", "is_warned"), [((1.0001, 0.0), True), ((0.5, 0.4), False)])
def test_a_front_that_is_no_better_than_the_reference_point_has_a_warning(
    begun: StudyFolder, values: tuple[float, float], is_warned: bool
) -> None:
    begun.load().add_trial(trial(values))
    page = html_report(begun)
    assert ("no trial is better than the reference point" in page) == is_warned
    assert ("what to do: " in page) == is_warned
