import dataclasses
import json

import torch

from hcvae.bundle import load
from hcvae.inspection.bundle import examine_bundle, find_in_bundle, reported, summarise_bundle
from hcvae.training.diagnosis import diagnose
from tests.fixtures.bundles import VERSION_1


def test_the_summary_agrees_with_the_files(trained):
    summary = summarise_bundle(load(trained))
    normalization = json.loads((trained / "normalization.json").read_text())
    assert summary.model_type == "hierarchical"
    assert summary.latent_dims == {"global": 3, "local": 4}
    assert (summary.samples, summary.sampling_rate_hz, summary.epochs) == (200, 20000, 2)
    assert summary.data == "simulator, 1500 waveforms, seed 0"
    assert summary.metrics == json.loads((trained / "metrics.json").read_text())
    (scale,) = normalization["signal"]["groups"].values()
    assert summary.scales_uv == {"": (scale["mean_uv"], scale["std_uv"])}
    conditions = {condition.name: condition for condition in summary.conditions}
    assert conditions["sex"].trained_on == "F, M"
    assert conditions["stimulus_rate_hz"].trained_on == "11.1 to 71.1"
    assert not conditions["sex"].nulls


def test_reported_metrics_are_those_of_all_parts():
    metrics = {"validation": {"r2": 0.5, "correlation": 0.7, "seconds": 1.0}, "test": {"r2": 0.4, "seconds": 2.0}}
    assert reported(metrics)[1:] == [("R2", ["0.5", "0.4"])]
    meaning, values = reported(metrics)[0]
    assert meaning.startswith("disentanglement")
    assert values == ["not measured", "not measured"]


def test_findings_are_the_problems_of_the_training(trained_bundle):
    history = [trained_bundle.history[0] | {"train_loss": None}]
    bundle = dataclasses.replace(trained_bundle, history=history)
    troubles = diagnose(bundle.config, history, bundle.metrics["validation"])
    assert troubles  # a loss that is not finite
    found = find_in_bundle(bundle)
    assert [(f.trouble, f.evidence, f.remedy) for f in found] == [(t.trouble, t.evidence, t.remedy) for t in troubles]


def test_peaks_of_an_older_bundle_are_sampled_for_its_diagnosis():
    """Its training measured none."""
    bundle = load(VERSION_1)
    last = bundle.model.decoder.heads["predicted_peaks"][-1]
    for wave_i_ms, share in ((1.0, "0%"), (-13.7, "100%")):
        with torch.no_grad():
            last.weight[:3] = 0
            last.bias[:3] = torch.tensor([wave_i_ms, 3.0, 6.0])
        figures = examine_bundle(bundle).figures["misplaced peaks"]
        assert figures.startswith(f"{share} of the generated waveforms have an impossible peak; ")
    [finding] = [finding for finding in find_in_bundle(bundle) if finding.trouble == "misplaced peaks"]
    assert finding.evidence == figures
    assert finding.remedy.startswith("train again: this older peak head may predict any latency")
