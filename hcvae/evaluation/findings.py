"""The measures of an evaluation by name, and a reason for each one that is missing."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hcvae.described import Described
from hcvae.errors import UserError

_DISTRIBUTION = {
    "frechet": "Frechet distance",
    "mmd": "MMD^2",
    "precision": "precision",
    "recall": "recall",
    "density": "density (1: equal distributions)",
    "coverage": "coverage",
    "expected_coverage": "coverage of equal distributions",
}
_LATENT = {
    "kl": "KL, nats",
    "beta": "beta of its KL weight",
    "variance": "variance of means",
    "active_units": "active units",
}
_WAVES = ("I", "III", "V")


def _of_waves(name: str, meaning: str) -> dict[str, str]:
    """Return the name and meaning of a measure for each wave."""
    return {name.format(wave): meaning.format(wave) for wave in _WAVES}


def _of_variants(measures: Mapping[str, str], name: str, meaning: str = "{}") -> dict[str, str]:
    """Return variants of measures, whose names and meanings replace `{}`."""
    return {name.format(own_name): meaning.format(own_meaning) for own_name, own_meaning in measures.items()}


SECTIONS: dict[str, dict[str, str]] = {
    "Reconstruction": {
        "reconstruction_nmse": "NMSE (1 predicts the mean)",
        "cross_average_nmse": "NMSE, independent average",
        "denoised_nmse": "NMSE about the response without noise",
        "r2": "R2",
        "correlation": "correlation",
        **_of_waves("peak_latency_error_ms_{}", "latency error, wave {}, ms"),
        **_of_waves("peak_amplitude_error_uv_{}", "amplitude error, wave {}, uV"),
    },
    "Disentanglement": {
        "disentanglement": "swap-routing score, signed",
        "selectivity_coarse": "coarse attributes: z_global",
        "selectivity_fine": "fine shape: z_local",
        "film_effect": "z_global's share of swapped waveforms",
        "j_gt": "J_gt, known factors",
        "j_gt_coarse": "J_gt, coarse factors: z_global",
        "j_gt_fine": "J_gt, fine factors: z_local",
    },
    "Known factors, one by one": {
        "mig": "MIG",
        "sap": "SAP",
        "modularity": "modularity",
        "dci_disentanglement": "DCI disentanglement",
        "dci_completeness": "DCI completeness",
        "dci_informativeness": "DCI informativeness",
        "total_correlation": "total correlation, nats",
    },
    "Latents": {
        **_of_variants(_LATENT, "global_{}", "z_global: {}"),
        **_of_variants(_LATENT, "local_{}", "z_local: {}"),
    },
    "Generation: peaks": {
        "generated_impossible_peaks": "waveforms with an impossible peak",
        **_of_waves("generated_peak_distance_ms_{}", "wave {} from the nearest maximum, ms"),
        "generated_wave_v_distance_ms": "wave V from the picked one, ms",
        "generated_wave_v_far": "wave V over 1 ms from the picked one",
    },
    "Generation: waveforms": _of_variants(_DISTRIBUTION, "{}_waveforms"),
    "Generation: features": _of_variants(_DISTRIBUTION, "{}_features"),
    "Generation: use": {
        "level_r2_synthetic": "level R2, trained on these",
        "level_r2_real": "level R2, trained on recordings",
        "group_auc_synthetic": "group AUC, trained on these",
        "group_auc_real": "group AUC, trained on recordings",
        "wave_v_difference_ms": "wave V by level: difference, ms",
        "wave_v_spearman": "wave V by level: rank correlation",
        "wave_v_spearman_recorded": "the same of the recordings",
        "memorisation_share_nearer": "memorisation (0.5 new, 1 copies)",
        "memorisation_z": "memorisation z (below -3 copies)",
    },
}
"""Names and meanings of the measures, in the order of the table."""
OBJECTIVES = ("reconstruction_nmse", "disentanglement")
MEASURES = dict(itertools.chain.from_iterable(map(dict.items, SECTIONS.values())))
"""Names and meanings of all measures."""


def names_of(*sections: str) -> tuple[str, ...]:
    """Return the names of the measures of these sections."""
    names: list[str] = []
    for section in sections:
        names += SECTIONS[section]
    return tuple(names)


@dataclass(repr=False)
class Findings(Described):
    """The measures of one model: in the end each name of `MEASURES` is in `measures` or in `left_out`."""

    measures: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    """The reason for each missing measure."""
    details: dict[str, Any] = field(default_factory=dict)
    """What a single number cannot show, such as the shares of each factor."""

    def facts(self) -> dict[str, object]:
        """Return the two objectives, and how many measures there are."""
        facts: dict[str, object] = {}
        for name in OBJECTIVES:
            if name in self.measures:
                facts[name] = self.measures[name]
        facts["measures"] = len(self.measures)
        facts["left_out"] = len(self.left_out)
        return facts

    def measure(self, names: Iterable[str], function: Callable[[], Mapping[str, float]]) -> None:
        """Add the measures that `function` returns; its UserError becomes the reason for leaving out `names`."""
        try:
            found = function()
        except UserError as error:
            self.leave_out(names, str(error))
            return
        for name, value in found.items():
            if math.isfinite(value):
                self.measures[name] = float(value)
                self.left_out.pop(name, None)
            else:
                self.leave_out([name], f"not finite, but {value}")

    def leave_out(self, names: Iterable[str], reason: str) -> None:
        """Record `reason` for each of `names` that was not measured and has no reason yet."""
        for name in names:
            if name not in self.measures:
                self.left_out.setdefault(name, reason)
