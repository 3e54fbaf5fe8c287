"""Model bundles: a folder that holds everything generation needs, and no pickle.

A bundle may come from anywhere: see `hcvae.bundle_reading` for what is checked, and the limits.

model.safetensors  config.json  normalization.json  metrics.json  history.json  README.md
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field
from safetensors.torch import save_file

import hcvae
from hcvae.bundle_reading import read_numbers, read_object, read_weights, sha256_of, validated
from hcvae.bundle_versions import FORMAT_VERSION, bring_up_to_date
from hcvae.config import Config, Section
from hcvae.data.atomic import folder_written_whole
from hcvae.data.preprocessing import Preprocessing
from hcvae.described import Described
from hcvae.errors import UserError
from hcvae.model_card import model_card
from hcvae.models import Model, outline
from hcvae.storage import Place
from hcvae.validation import shortened

if TYPE_CHECKING:
    from hcvae.training.diagnosis import Finding

History = list[dict[str, float | None]]
"""The metrics of every epoch; None (null in JSON) where one is not finite."""


class Origin(Section):
    """What config.json says beside the configuration."""

    format_version: int
    """See `hcvae.bundle_versions`."""
    hcvae_version: str | None
    """The hcvae that wrote the bundle; null: unknown."""
    weights_sha256: str | None = Field(pattern="^[0-9a-f]{64}$")
    """Digest of model.safetensors, so that a damaged copy is noticed; null: unknown."""


@dataclass(frozen=True, repr=False)
class Bundle(Described):
    """A trained model with what is needed to use it."""

    model: Model
    """In eval mode, on the CPU."""
    config: Config
    """The complete configuration that it was trained with."""
    preprocessing: Preprocessing
    """Scales of the waveforms and encoding of the conditions."""
    metrics: dict[str, dict[str, float]]
    """Metrics by part of the split, `validation` and `test`; `test_lower` and `test_upper` limit 95 % intervals."""
    history: History
    """Metrics of every epoch of its training."""
    path: str | None = None
    """Where it was read; None: it was made in this process."""

    def facts(self) -> dict[str, object]:
        """Where it is from, what model it holds, and how good that is."""
        validation, preprocessing = self.metrics.get("validation", {}), self.preprocessing
        scores: dict[str, object] = {
            name: validation[name] for name in ("reconstruction_nmse", "disentanglement") if name in validation
        }
        return {
            "path": self.path,
            "model": self.config.model.model_type,
            "latents": dict(self.model.latent_dims),
            "parameters": f"{sum(parameter.numel() for parameter in self.model.parameters()):,}",
            "samples": f"{preprocessing.signal_length} at {preprocessing.sampling_rate_hz:g} Hz",
            "conditions": ", ".join(column.name for column in preprocessing.static.columns),
            "epochs": len(self.history),
            **scores,
        }


def save_bundle(
    folder: Path, bundle: Bundle, split: str, findings: Sequence["Finding"], precision: str | None = None
) -> None:
    """Write `bundle` to `folder`, replacing what is there.

    The model card names `split`, how the data were divided, in words; `findings`, the troubles of the training; and
    `precision`, in which it was trained and why (None: as the configuration has it).
    """
    with folder_written_whole(folder) as temporary:
        weights = temporary / "model.safetensors"
        save_file(bundle.model.state_dict(), weights)
        origin = Origin(
            format_version=FORMAT_VERSION, hcvae_version=hcvae.__version__, weights_sha256=sha256_of(weights)
        )
        config = {**origin.model_dump(), **bundle.config.model_dump(mode="json")}
        (temporary / "config.json").write_text(json.dumps(config, indent=2))
        (temporary / "normalization.json").write_text(bundle.preprocessing.model_dump_json(indent=2))
        (temporary / "metrics.json").write_text(json.dumps(bundle.metrics, indent=2))
        (temporary / "history.json").write_text(json.dumps(bundle.history))
        (temporary / "README.md").write_text(
            model_card(bundle, split, findings, precision or bundle.config.training.precision)
        )


def load(path: str | Path | Place) -> Bundle:
    """Read a model bundle from a folder of this machine or a URI such as s3://bucket/studies/nightly/best/trial-3.

    A bundle may come from anywhere. Nothing is unpickled and no file outside the folder is read. Sizes, names, types
    and shapes are checked before memory is taken, of which it never needs more than 1 GB. An older format version is
    brought up to date.

    Raises:
        UserError: something is missing, damaged, hostile, of a newer format version, or does not fit together.
    """
    place = Place.of(path)
    if place.is_local:
        if not place.path.is_dir():
            raise UserError(f"{place}: not a model bundle: there is no such folder")
        return _load(place.path)
    try:
        with place.fetched() as folder:
            return replace(_load(folder), path=str(place))
    except OSError as error:
        raise UserError(f"{place}: no whole model bundle can be read here: {error}") from error


def _load(folder: Path) -> Bundle:
    content, normalization = read_object(folder, "config.json"), read_object(folder, "normalization.json")
    bring_up_to_date(folder, content, normalization)
    named = {name: content.pop(name) for name in Origin.model_fields if name in content}
    origin = validated(Origin, named, folder / "config.json")
    config = validated(Config, content, folder / "config.json")
    preprocessing = validated(Preprocessing, normalization, folder / "normalization.json")
    _check_fit(folder, config, preprocessing)
    metrics, history = read_numbers(folder, "metrics.json", dict), read_numbers(folder, "history.json", list)
    if not {"validation", "test"} <= metrics.keys():
        found = shortened(str([*metrics]))
        raise UserError(f"{folder / 'metrics.json'}: validation and test must stand there, but got {found}")
    try:
        model = outline(config.model)
    except UserError as error:
        raise UserError(f"{folder / 'config.json'}: {error}") from error
    weights = read_weights(folder, "model.safetensors", model.state_dict(), origin.weights_sha256)
    model.load_state_dict(weights, assign=True)
    return Bundle(model.eval(), config, preprocessing, metrics, history, str(folder))


def finite(history: Iterable[Mapping[str, float | None]]) -> History:
    """`history` with None for what JSON cannot hold."""

    def number(value: float | None) -> float | None:
        return value if value is not None and math.isfinite(value) else None

    return [{name: number(value) for name, value in epoch.items()} for epoch in history]


def _check_fit(folder: Path, config: Config, preprocessing: Preprocessing) -> None:
    """Refuse a configuration and a normalisation that are not of one model."""
    columns = tuple(column.name for column in preprocessing.static.columns)
    for name, configured, found in (
        ("model.static_dim", config.model.static_dim, preprocessing.static.dim),
        ("model.signal_length", config.model.signal_length, preprocessing.signal_length),
        ("model.peak_window_ms", config.model.peak_window_ms or preprocessing.window_ms, preprocessing.window_ms),
        ("data.static", config.data.static, columns),
        ("normalization.group_by", config.normalization.group_by, preprocessing.signal.group_by),
    ):
        if configured != found:
            raise UserError(
                f"{folder}: {name}: config.json says {shortened(str(configured))}, "
                f"but normalization.json has {shortened(str(found))}"
            )
