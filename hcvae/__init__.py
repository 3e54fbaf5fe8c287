"""Hierarchical conditional VAE of auditory brainstem response (ABR) waveforms.

A small example, from simulated recordings to generated waveforms:

>>> import tempfile
>>> from pathlib import Path
>>> import hcvae
>>> from hcvae.config import Config
>>> from hcvae.data.dataset import prepare
>>> from hcvae.generation import generate
>>> from hcvae.training import train_bundle
>>> small = {"model": {"width": 0.02}, "data": {"simulator": {"rows": 600}}, "training": {"epochs": 1}}
>>> config = Config.model_validate(small)
>>> folder = tempfile.TemporaryDirectory()
>>> _ = train_bundle(config, prepare(config), Path(folder.name))
>>> bundle = hcvae.load(Path(folder.name, "bundle"))
>>> levels = [{"stimulus_level_db": level} for level in (30.0, 60.0)]
>>> table = generate(bundle, levels, n_samples=5)
>>> table.num_rows, len(table["signal"][0])  # of 200 samples in uV
(10, 200)
>>> folder.cleanup()

Names are imported on first use (PEP 562): `import hcvae` alone does not load torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "HierarchicalCVAE": "hcvae.models.cvae",
    "StandardCVAE": "hcvae.models.baseline",
    "load": "hcvae.bundle",
}

__all__ = ["HierarchicalCVAE", "StandardCVAE", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
