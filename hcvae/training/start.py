"""The weights of an existing bundle that a training may start from."""

from torch import Tensor

from hcvae.bundle import load
from hcvae.config import Config
from hcvae.data.dataset import Dataset
from hcvae.data.preprocessing import Preprocessing
from hcvae.errors import UserError

MAY_DIFFER = {"dropout", "peak_window_ms"}
"""Fields of `model` on which no weight depends, or only the peak head's, which then starts from random weights."""
PEAK_HEAD = "decoder.heads.predicted_peaks."


def starting_weights(config: Config, data: Dataset) -> dict[str, Tensor] | None:
    """Return the weights of the bundle `training.start_from`, on the CPU; None without one.

    `config` is resolved. Waveforms and conditions are scaled by the new data's statistics, so that a network trained on
    one recorder keeps the shapes of its responses, not their scale. Peak heads of bundles before format version 3 have
    other outputs: their weights are left out.

    Raises:
        UserError: there is no complete bundle, or its network, conditions or sampling rate differ from this
            training's.
    """
    path = config.training.start_from
    if path is None:
        return None
    bundle = load(path)
    wanted = _required(config, data.preprocessing)
    found = _required(bundle.config, bundle.preprocessing)
    for name in wanted:
        if wanted[name] != found[name]:
            raise UserError(
                f"training.start_from: the model in {path} has {name} {found[name]!r}, but this training has "
                f"{wanted[name]!r}; both must be the same"
            )
    weights = bundle.model.state_dict()
    if bundle.config.model.peak_window_ms is None:
        return _without_peak_head(weights)
    return weights


def _without_peak_head(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in weights.items() if not name.startswith(PEAK_HEAD)}


def _required(config: Config, preprocessing: Preprocessing) -> dict[str, object]:
    """Return what must be the same in both trainings, by name."""
    required: dict[str, object] = {}
    for name, value in config.model.model_dump(exclude=MAY_DIFFER).items():
        required[f"model.{name}"] = value
    required["data.static"] = preprocessing.static.names
    required["sampling rate in Hz"] = preprocessing.sampling_rate_hz
    return required
