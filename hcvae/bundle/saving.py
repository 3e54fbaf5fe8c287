"""Writing a model bundle to a folder."""

import json
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file

import hcvae
from hcvae.atomic import atomic_folder
from hcvae.bundle.contents import Bundle, Origin
from hcvae.bundle.model_card import model_card
from hcvae.bundle.versions import FORMAT_VERSION
from hcvae.digests import sha256_of_file
from hcvae.finding import Finding


def save_bundle(
    folder: Path, bundle: Bundle, split: str, findings: Sequence[Finding], precision: str | None = None
) -> None:
    """Write `bundle` to `folder`, replacing what is there.

    The model card contains `split`, a description of how the data were divided, `findings`, the troubles of the
    training, and `precision`, that of the training and why (None: the configuration's).
    """
    with atomic_folder(folder) as temporary:
        weights = temporary / "model.safetensors"
        save_file(bundle.model.state_dict(), weights)
        origin = Origin(
            format_version=FORMAT_VERSION, hcvae_version=hcvae.__version__, weights_sha256=sha256_of_file(weights)
        )
        config = {**origin.model_dump(), **bundle.config.model_dump(mode="json")}
        (temporary / "config.json").write_text(json.dumps(config, indent=2))
        (temporary / "normalization.json").write_text(bundle.preprocessing.model_dump_json(indent=2))
        (temporary / "metrics.json").write_text(json.dumps(bundle.metrics, indent=2))
        (temporary / "history.json").write_text(json.dumps(bundle.history))
        (temporary / "README.md").write_text(
            model_card(bundle, split, findings, precision or bundle.config.training.precision)
        )
