"""Reading a model bundle from a folder or an object store; see `hcvae.bundle.reading` for the checks and limits."""

from dataclasses import replace
from pathlib import Path

from hcvae.bundle.contents import Bundle, Origin
from hcvae.bundle.reading import read_history, read_metrics, read_object, read_weights, validated
from hcvae.bundle.versions import bring_up_to_date
from hcvae.config import Config
from hcvae.data.preprocessing import Preprocessing
from hcvae.errors import UserError
from hcvae.models import outline
from hcvae.storage import StoragePath
from hcvae.validation import shortened


def load(path: str | Path | StoragePath) -> Bundle:
    """Read a model bundle from a folder of this machine or a URI such as s3://bucket/studies/nightly/best/trial-3.

    A bundle may come from any source: nothing is unpickled and no file outside the folder is read. Sizes, names, types
    and shapes are checked before memory is allocated, never more than 1 GB. Older format versions are brought up to
    date.

    Raises:
        UserError: something is missing, damaged, malicious, inconsistent, or of a newer format version.
    """
    place = StoragePath.of(path)
    if place.is_local:
        if not place.path.is_dir():
            raise UserError(f"{place}: not a model bundle: there is no such folder")
        return _load(place.path)
    try:
        with place.fetched() as folder:
            return replace(_load(folder), path=str(place))
    except OSError as error:
        raise UserError(f"{place}: cannot read a complete model bundle here: {error}") from error


def _load(folder: Path) -> Bundle:
    content = read_object(folder, "config.json")
    normalization = read_object(folder, "normalization.json")
    bring_up_to_date(folder, content, normalization)
    named = {}
    for name in Origin.model_fields:
        if name in content:
            named[name] = content.pop(name)
    origin = validated(Origin, named, folder / "config.json")
    config = validated(Config, content, folder / "config.json")
    preprocessing = validated(Preprocessing, normalization, folder / "normalization.json")
    _check_fit(folder, config, preprocessing)
    metrics = read_metrics(folder, "metrics.json")
    history = read_history(folder, "history.json")
    try:
        model = outline(config.model)
    except UserError as error:
        raise UserError(f"{folder / 'config.json'}: {error}") from error
    weights = read_weights(folder, "model.safetensors", model.state_dict(), origin.weights_sha256)
    model.load_state_dict(weights, assign=True)
    return Bundle(model.eval(), config, preprocessing, metrics, history, str(folder))


def _check_fit(folder: Path, config: Config, preprocessing: Preprocessing) -> None:
    """Refuse a configuration and a normalisation that belong to different models."""
    columns = tuple(preprocessing.static.by_name)
    for name, configured, found in (
        ("model.static_dim", config.model.static_dim, preprocessing.static.dim),
        ("model.signal_length", config.model.signal_length, preprocessing.signal_length),
        ("model.peak_window_ms", config.model.peak_window_ms or preprocessing.window_ms, preprocessing.window_ms),
        ("data.static", config.data.static, columns),
        ("normalization.group_by", config.normalization.group_by, preprocessing.signal.group_by),
    ):
        if configured != found:
            raise UserError(
                f"{folder}: {name}: config.json has {shortened(str(configured))}, "
                f"but normalization.json has {shortened(str(found))}"
            )
