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

SECTIONS: dict[str, dict[str, str]] = {
    "Reconstruction": {
        "reconstruction_nmse": "NMSE (1 predicts the mean)",
        "cross_average_nmse": "NMSE, independent average",
        "r2": "R2",
        "correlation": "correlation",
        **{f"peak_latency_error_ms_{wave}": f"latency error, wave {wave}, ms" for wave in _WAVES},
        **{f"peak_amplitude_error_uv_{wave}": f"amplitude error, wave {wave}, uV" for wave in _WAVES},
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
        **{f"global_{name}": f"z_global: {meaning}" for name, meaning in _LATENT.items()},
        **{f"local_{name}": f"z_local: {meaning}" for name, meaning in _LATENT.items()},
    },
    "Generation: peaks": {
        "generated_impossible_peaks": "waveforms with an impossible peak",
        **{f"generated_peak_distance_ms_{wave}": f"wave {wave} from the nearest maximum, ms" for wave in _WAVES},
        "generated_wave_v_distance_ms": "wave V from the picked one, ms",
        "generated_wave_v_far": "wave V over 1 ms from the picked one",
    },
    "Generation: waveforms": {f"{name}_waveforms": meaning for name, meaning in _DISTRIBUTION.items()},
    "Generation: features": {f"{name}_features": meaning for name, meaning in _DISTRIBUTION.items()},
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
MEASURES = dict(itertools.chain.from_iterable(section.items() for section in SECTIONS.values()))
"""Names and meanings of all measures."""


def names_of(*sections: str) -> tuple[str, ...]:
    """Return the names of the measures of these sections."""
    return tuple(itertools.chain.from_iterable(SECTIONS[section] for section in sections))


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
        shown = {name: self.measures[name] for name in OBJECTIVES if name in self.measures}
        return {**shown, "measures": len(self.measures), "left_out": len(self.left_out)}

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
