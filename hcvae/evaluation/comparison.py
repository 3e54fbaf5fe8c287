"""Several bundles and their baselines as columns of one table and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hcvae.bundle import Bundle
from hcvae.described import Described
from hcvae.errors import UserError
from hcvae.evaluation.findings import SECTIONS, Findings
from hcvae.evaluation.models import (
    Progress,
    evaluate_bundle,
    evaluate_condition_mean,
    evaluate_oracle,
    evaluate_principal_components,
    evaluate_recordings,
)
from hcvae.evaluation.rows import EvaluationRows
from hcvae.terminal import TerminalTable

WITH_NOISE = "Generated waveforms are compared with residual noise, as in recorded averages."


@dataclass(repr=False)
class Comparison(Described):
    """Findings by column: the bundles, then the baselines of each data set on which they are evaluated."""

    bundles: dict[str, Findings] = field(default_factory=dict)
    baselines: dict[str, Findings] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    """A description of the rows on which each bundle was evaluated."""
    notes: list[str] = field(default_factory=lambda: [WITH_NOISE])
    _data_sets: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, object]:
        """Return the columns."""
        return {"bundles": ", ".join(self.bundles), "baselines": ", ".join(self.baselines)}

    def add(self, name: str, bundle: Bundle, rows: EvaluationRows, progress: Progress, *, baselines: bool) -> None:
        """Evaluate `bundle` on `rows`, and the baselines that no earlier bundle has added."""
        if rows.key not in self._data_sets:
            self._data_sets.append(rows.key)
        self.sources[name] = rows.source
        self.bundles[name] = evaluate_bundle(bundle, rows, lambda step: progress(f"{name}: {step}"))
        if not baselines:
            return
        if rows.train_part is None:
            self._note("No baselines: they are fitted to the training rows, which --data does not read.")
            return
        self._add_baselines(bundle, rows, progress)

    def table(self) -> TerminalTable:
        """Return a table of measures by model, with a dash for a missing one."""
        columns = self.bundles | self.baselines
        table = TerminalTable("Measures", ("measure", *columns))
        for section, measures in SECTIONS.items():
            table.rows.append((section,))
            for name, meaning in measures.items():
                cells = [_shown(found.measures.get(name)) for found in columns.values()]
                table.rows.append((meaning, *cells))
        return table

    def reasons(self) -> dict[str, list[str]]:
        """Return the measures that are left out, by bundle and reason."""
        reasons: dict[str, list[str]] = {}
        for column, found in self.bundles.items():
            for name, reason in found.left_out.items():
                reasons.setdefault(f"{column}: {reason}", []).append(name)
        return reasons

    def as_json(self) -> dict[str, Any]:
        """Return everything as a JSON tree."""
        return {
            "notes": self.notes,
            "evaluated_on": self.sources,
            "bundles": {name: _json_of(found) for name, found in self.bundles.items()},
            "baselines": {name: _json_of(found) for name, found in self.baselines.items()},
        }

    def _add_baselines(self, bundle: Bundle, rows: EvaluationRows, progress: Progress) -> None:
        number = self._data_sets.index(rows.key)
        suffix = ""
        if number:
            suffix = f" (data {number + 1})"
        dims = bundle.model.latent_dims
        components = f"PCA {dims['global']}+{sum(dims.values()) - dims['global']}{suffix}"
        if components not in self.baselines:
            try:
                self.baselines[components] = evaluate_principal_components(
                    bundle, rows, lambda step: progress(f"{components}: {step}")
                )
            except UserError as error:
                self._note(f"No column {components}: {error}")
        if f"condition mean{suffix}" not in self.baselines:
            self._add_general_baselines(bundle, rows, suffix, progress)

    def _add_general_baselines(self, bundle: Bundle, rows: EvaluationRows, suffix: str, progress: Progress) -> None:
        """Add the baselines that do not depend on the bundle's latent dimensions."""
        self.baselines[f"condition mean{suffix}"] = evaluate_condition_mean(bundle, rows)
        oracle = evaluate_oracle(rows)
        if "j_gt" in oracle.measures:
            self.baselines[f"oracle{suffix}"] = oracle
        if rows.is_training_part:
            self._note("No column of recordings: the training part is evaluated and would be compared with itself.")
        else:
            progress(f"recorded{suffix}: generation")
            self.baselines[f"recorded{suffix}"] = evaluate_recordings(bundle, rows)

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def folder_names(paths: Sequence[str]) -> list[str]:
    """Return a short name for each bundle: its folder's, with as many parents as make the names distinct.

    Raises:
        UserError: a bundle is named twice.
    """
    parts = [Path(path).resolve().parts for path in paths]
    if len(set(parts)) < len(parts):
        raise UserError(f"bundles: each must be named once, but got {list(paths)}")
    depth = 1
    names = _ends(parts, depth)
    while len(set(names)) < len(names):
        depth += 1
        names = _ends(parts, depth)
    return names


def _ends(parts: Sequence[Sequence[str]], depth: int) -> list[str]:
    """Return the last `depth` parts of each path."""
    return ["/".join(part[-depth:]) for part in parts]


def _shown(value: float | None) -> str:
    """Return at most six characters, up to 9999."""
    if value is None:
        return "-"
    if abs(value) < 10:
        return f"{value:.3f}"
    if abs(value) < 1000:
        return f"{value:.1f}"
    return f"{value:.0f}"


def _json_of(found: Findings) -> dict[str, Any]:
    return {"measures": found.measures, "left_out": found.left_out, "details": found.details}
