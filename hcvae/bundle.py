"""Model bundles: a folder that holds everything generation needs, and no pickle.

model.safetensors  config.json  normalization.json  metrics.json  history.json  README.md
"""

import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from hcvae.config import Config, Section
from hcvae.data.preprocessing import Preprocessing
from hcvae.errors import UserError
from hcvae.model_card import model_card
from hcvae.models import Model, build
from hcvae.storage import Place
from hcvae.validation import explain

if TYPE_CHECKING:
    from hcvae.training.diagnosis import Finding

FORMAT_VERSION = 1

History = list[dict[str, float | None]]
"""The metrics of every epoch; None (null in JSON) where one is not finite."""
AnySection = TypeVar("AnySection", bound=Section)


@dataclass(frozen=True)
class Bundle:
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


def save_bundle(folder: Path, bundle: Bundle, split: str, findings: Sequence["Finding"]) -> None:
    """Write `bundle` to `folder`, replacing what is there.

    The model card tells `split`, how the data were divided in words, and `findings`, the troubles of the training.
    """
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(bundle.model.state_dict(), temporary / "model.safetensors")
    config = {"format_version": FORMAT_VERSION, **bundle.config.model_dump(mode="json")}
    (temporary / "config.json").write_text(json.dumps(config, indent=2))
    (temporary / "normalization.json").write_text(bundle.preprocessing.model_dump_json(indent=2))
    (temporary / "metrics.json").write_text(json.dumps(bundle.metrics, indent=2))
    (temporary / "history.json").write_text(json.dumps(bundle.history))
    (temporary / "README.md").write_text(model_card(bundle, split, findings))
    if folder.exists():
        shutil.rmtree(folder)
    os.rename(temporary, folder)


def load(path: str | Path | Place) -> Bundle:
    """Read a model bundle from a folder of this machine or a URI such as s3://bucket/studies/nightly/best/trial-3.

    Names, types and shapes of all tensors are checked before any memory is taken for them.

    Raises:
        UserError: something is missing, of another format version, or does not fit together.
    """
    place = Place.of(path)
    if place.is_local:
        return _load(place.path)
    try:
        with place.fetched() as folder:
            return _load(folder)
    except OSError as error:
        raise UserError(f"{place}: no whole model bundle can be read here: {error}") from error


def _load(folder: Path) -> Bundle:
    content = _read_json(folder / "config.json")
    version = content.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise UserError(f"{folder / 'config.json'}: format_version must be {FORMAT_VERSION}, but got {version!r}")
    config = _validated(Config, content, folder / "config.json")
    preprocessing = _validated(Preprocessing, _read_json(folder / "normalization.json"), folder / "normalization.json")
    if config.model.static_dim != preprocessing.static.dim:
        raise UserError(
            f"{folder}: config.json says static_dim {config.model.static_dim}, "
            f"normalization.json encodes {preprocessing.static.dim}"
        )
    with torch.device("meta"):
        model = build(config.model)
    weights = folder / "model.safetensors"
    _check_tensors(weights, model)
    model.load_state_dict(load_file(weights), assign=True)
    history = _read_history(folder / "history.json")
    return Bundle(model.eval(), config, preprocessing, _read_json(folder / "metrics.json"), history)


def finite(history: Sequence[Mapping[str, float]]) -> History:
    """`history` with None for what JSON cannot hold."""
    return [{name: value if math.isfinite(value) else None for name, value in epoch.items()} for epoch in history]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a model bundle: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a model bundle: an object must stand there")
    return content


def _read_history(path: Path) -> History:
    try:
        return TypeAdapter(History).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(f"{path}: not a model bundle: {error}") from error


def _validated(kind: type[AnySection], content: dict[str, Any], path: Path) -> AnySection:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error, kind)}") from error


def _check_tensors(path: Path, model: torch.nn.Module) -> None:
    wanted = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a safetensors file: {error}") from error
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise UserError(
                f"{path}: tensor {name}: config.json asks for shape {wanted.get(name)}, but got {found.get(name)}"
            )
