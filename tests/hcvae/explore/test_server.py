import io
import re
from html.parser import HTMLParser

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from flask.testing import FlaskClient

from hcvae.data.table import signals_of
from hcvae.explore.server import application


class Start(HTMLParser):
    """The named fields of the page, as a browser would send them at the start."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.ids: list[str] = []
        self._select = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [str(found["id"])] if "id" in found else []
        if tag == "select":
            self._select = str(found["name"])
        elif tag == "option" and (self._select not in self.fields or "selected" in found):
            self.fields[self._select] = str(found["value"])
        elif tag == "input" and found.get("type") == "text" and "name" in found:
            self.fields[str(found["name"])] = str(found["value"])


@pytest.fixture
def client(explorer) -> FlaskClient:
    return application(explorer, "a <b> model").test_client()


@pytest.fixture
def start(client) -> dict:
    """The form at the start."""
    return {"fields": Start(client.get("/").text).fields, "references": [], "shown": []}


def test_all_that_the_page_needs_comes_from_it(client):
    html = client.get("/").text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert len(addresses) >= 4
    for address in addresses:
        assert address.startswith(("/", "data:,"))
        assert address == "data:," or client.get(address).status_code == 200
    assert "Explore <em>a &lt;b&gt; model</em>" in html


def test_ids_are_unique(client):
    ids = Start(client.get("/").text).ids
    assert len(ids) == len(set(ids)) > 20


def test_what_is_drawn_is_what_is_saved(client, start, explorer, recordings_table):
    start["fields"]["condition-0-0"] = "40"
    frozen = client.post("/freeze", json=start).json
    row = client.post("/recording", json="7").json
    assert (frozen["name"], row["name"]) == ("frozen 1", "row 7")
    assert client.post("/freeze", json=start | {"references": [frozen, row]}).json["name"] == "frozen 2"
    form = start | {"references": [frozen, row], "shown": ["frozen 1", "row 7"]}
    answer = client.post("/draw", json=form).json
    drawn = {trace["name"]: trace["y"] for trace in answer["figure"]["data"] if trace["mode"] == "lines"}
    assert list(reversed(drawn)) == ["current", "frozen 1", "row 7"]
    assert [cells[0] for cells in answer["peaks"]] == ["current", "frozen 1", "row 7"]
    assert drawn["row 7"] == pq.read_table(recordings_table)["signal"][7].as_py()

    table = pq.read_table(io.BytesIO(client.post("/explored.parquet", json=form).data))
    assert dict(zip(table["name"].to_pylist(), table["signal"].to_pylist(), strict=True)) == drawn
    assert table["stimulus_level_db"].to_pylist()[0] == 40.0
    assert table.schema.metadata[b"sampling_rate_hz"] == b"20000"
    lines = pyarrow.csv.read_csv(io.BytesIO(client.post("/explored.csv", json=form).data))
    samples = [name for name in lines.column_names if name.startswith("t_ms=")]
    read = np.stack([lines[name].to_numpy() for name in samples], axis=1).astype(np.float32)
    assert np.array_equal(read, signals_of(table))


@pytest.mark.parametrize("path", ["/draw", "/freeze", "/explored.csv"])
def test_a_form_with_a_wrong_value_is_refused_everywhere(client, start, path):
    start["fields"]["condition-0-0"] = "200"
    answer = client.post(path, json=start)
    assert answer.status_code == 422
    assert answer.json["problems"] == {"condition-0-0": answer.json["message"]}
    assert "from 10 to 90, but got '200'" in answer.json["message"]


def test_a_step_of_one_standard_deviation_changes_the_waveform_by_the_figure_beside_it(client, start):
    """For each condition: a lower level has a smaller response."""
    figures = {}
    for level in ("80", "20"):
        start["fields"]["condition-0-0"] = level
        answers = {}
        for shift in ("1", "-1"):
            form = start | {"fields": start["fields"] | {"global-1": shift}}
            answers[shift] = client.post("/draw", json=form).json
        up, down = (np.array(answer["figure"]["data"][0]["y"]) for answer in answers.values())
        figures[level] = answers["1"]["changes"]["global"][0]
        assert figures[level] == pytest.approx(np.sqrt(np.mean(((up - down) / 2) ** 2)), rel=1e-3)
    assert figures["80"] != pytest.approx(figures["20"], rel=0.02)


def test_rows_are_described_or_refused(client, recordings_table):
    subject = pq.read_table(recordings_table)["subject_id"][7].as_py()
    assert f"subject_id {subject}" in client.post("/description", json="7").json
    for path in ("/description", "/recording"):
        answer = client.post(path, json="60")
        assert answer.status_code == 422
        assert answer.json["message"].endswith("must be a whole number from 0 to 59, but got '60'")
        answer = client.post(path, json=7)
        assert (answer.status_code, answer.json["message"]) == (422, "must be text")
    assert client.post("/draw", json=[1]).status_code == 422
