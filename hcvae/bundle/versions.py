"""Format versions of bundles: older ones are brought up to date, one version at a time; newer ones are refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hcvae
from hcvae.errors import UserError

Json = dict[str, Any]


def _from_version_1(config: Json, normalization: Json) -> None:
    """Add the version of hcvae that wrote the bundle, and the digest of the weights."""
    config.setdefault("hcvae_version", None)
    config.setdefault("weights_sha256", None)


def _from_version_2(config: Json, normalization: Json) -> None:
    """Add the window of possible latencies; null: a peak head that may predict any latency."""
    config["model"].setdefault("peak_window_ms", None)


UPGRADES: dict[int, Callable[[Json, Json], None]] = {1: _from_version_1, 2: _from_version_2}
"""Steps by the version that they start from; each changes the contents of config.json and normalization.json."""
FORMAT_VERSION = max(UPGRADES) + 1
"""The version that this hcvae writes."""


def bring_up_to_date(folder: Path, config: Json, normalization: Json) -> None:
    """Convert the contents of both files, in place, to `FORMAT_VERSION`.

    Raises:
        UserError: config.json has no version or a newer one, or the contents are not those of its version.
    """
    path = folder / "config.json"
    version = config.get("format_version")
    if type(version) is not int or version < min(UPGRADES):
        raise UserError(f"{path}: format_version: must be 1 to {FORMAT_VERSION}, but got {str(version)[:100]!r}")
    if version > FORMAT_VERSION:
        raise UserError(
            f"{path}: format_version {str(version)[:100]} needs {_needed(config)}, but this is {hcvae.__version__}; "
            "install a newer hcvae"
        )
    for step in range(version, FORMAT_VERSION):
        try:
            UPGRADES[step](config, normalization)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise UserError(f"{folder}: not a bundle of format_version {step}: {error!r}") from error
    config["format_version"] = FORMAT_VERSION


def _needed(config: Json) -> str:
    version = str(config.get("hcvae_version"))
    if re.fullmatch(r"[0-9][0-9A-Za-z.+]{0,30}", version):
        return f"hcvae >= {version}"
    return "a newer hcvae"
