import re
from dataclasses import replace

import numpy as np
import pytest

import hcvae
from hcvae.config import Config, ModelConfig
from hcvae.data.dataset import prepare
from hcvae.data.simulator import simulate
from hcvae.evaluation import own_rows
from hcvae.evaluation.comparison import Comparison
from hcvae.evaluation.findings import Findings
from hcvae.generation import encode_recording, families, generate
from hcvae.inspection import Recordings, summarise
from hcvae.inspection.bundle import summarise_bundle

MAX_LINE = 400


@pytest.fixture(scope="module")
def met(trained, trained_bundle):
    """What a user of the Python interface has in hand, by name."""
    table = simulate(60, 0)
    data = prepare(trained_bundle.config)
    rows = own_rows(trained_bundle, "test")
    recordings = Recordings.of(table)
    return {
        "bundle": trained_bundle,
        "config": trained_bundle.config,
        "preprocessing": trained_bundle.preprocessing,
        "dataset": data,
        "part": data.train,
        "split": data.split,
        "rows": rows,
        "sample": rows.recorded,
        "findings": Findings({"reconstruction_nmse": 0.25}),
        "comparison": Comparison({"model": Findings()}),
        "recordings": recordings,
        "summary": summarise(recordings),
        "bundle summary": summarise_bundle(trained_bundle),
        "recording": encode_recording(trained_bundle, table.slice(3, 1)),
        "family": next(iter(families(generate(trained_bundle, [{}], 3)))),
    }


def test_everything_is_one_short_line_and_a_small_table(met):
    for name, one in met.items():
        line = repr(one)
        assert "\n" not in line, name
        assert len(line) <= MAX_LINE, (name, len(line))
        assert line.startswith(type(one).__name__), name
        table = one._repr_html_()
        assert table.startswith("<table>"), name
        assert table.count("<tr>") == len(one.facts()), name


def test_a_bundle_names_its_path_model_dimensions_and_objectives(trained, trained_bundle):
    nmse = trained_bundle.metrics["validation"]["reconstruction_nmse"]
    line = repr(hcvae.load(trained))
    for fact in ("hierarchical", "global 3, local 4", "200 at 20000 Hz", "epochs=2", f"reconstruction_nmse={nmse:.4g}"):
        assert fact in line
    path = re.search(r"path=(\S+?)(\.\.\.)?,", line)
    assert str(trained).startswith(path[1])


def test_a_configuration_shows_what_differs_from_the_defaults():
    assert repr(Config()) == "Config()"
    config = Config.model_validate({"model": {"width": 0.25}, "training": {"phases": {"warmup": 0.2}}})
    assert repr(config) == str(config) == "Config(model.width=0.25, training.phases.warmup=0.2)"
    assert f"{ModelConfig(attention=True)}" == "ModelConfig(attention=True)"


def test_html_and_control_characters_are_escaped(trained_bundle):
    evil = "<script>alert(1)</script>\x1b[2J"
    bundle = replace(trained_bundle, path=evil)
    assert "<script>" not in bundle._repr_html_()
    assert "&lt;script&gt;" in bundle._repr_html_()
    assert "\x1b" not in repr(bundle) + bundle._repr_html_()
    config = Config.model_validate({"data": {"licence": evil}})
    assert "<script>" not in config._repr_html_()
    recording = encode_recording(trained_bundle, simulate(60, 0).slice(3, 1))
    family = next(iter(families(generate(trained_bundle, [{}], 1))))
    hostile = replace(family, condition={evil: evil})
    assert "<script>" not in hostile._repr_html_() + replace(recording, condition={"a": evil})._repr_html_()
    assert np.array_equal(hostile.signals_uv, family.signals_uv)
