"""The weights that a training starts from where it does not start from random ones."""

from torch import Tensor

from hcvae.bundle import load
from hcvae.config import Config
from hcvae.data.dataset import Dataset
from hcvae.errors import UserError

FREE = {"dropout", "peak_window_ms"}
"""Fields of `model` that no weight depends on, or only those of the peak head, which then starts anew."""
PEAK_HEAD = "decoder.heads.predicted_peaks."


def starting_weights(config: Config, data: Dataset) -> dict[str, Tensor] | None:
    """The weights of the bundle `training.start_from`, on the CPU; None where the training starts from random ones.

    Peak heads of bundles before format version 3 have other outputs: their weights are left out.

    `config` is resolved. Waveforms and conditions are scaled by the new data's statistics: a network that was trained
    on one recorder's microvolts starts with the shapes of its responses, not with its scale.

    Raises:
        UserError: no whole bundle lies there, or its network, conditions or sampling rate are not those of this
            training.
    """
    place = config.training.start_from
    if place is None:
        return None
    bundle = load(place)
    own, its = (c.model.model_dump(exclude=FREE) for c in (config, bundle.config))
    pairs = {f"model.{name}": (own[name], its[name]) for name in own} | {
        "data.static": (data.preprocessing.static.names, bundle.preprocessing.static.names),
        "sampling rate in Hz": (data.preprocessing.sampling_rate_hz, bundle.preprocessing.sampling_rate_hz),
    }
    for name, (wanted, found) in pairs.items():
        if wanted != found:
            raise UserError(
                f"training.start_from: the model in {place} has another {name}, {found!r}, but this training has "
                f"{wanted!r}; both must be the same"
            )
    weights = bundle.model.state_dict()
    if bundle.config.model.peak_window_ms is None:
        return {name: tensor for name, tensor in weights.items() if not name.startswith(PEAK_HEAD)}
    return weights
