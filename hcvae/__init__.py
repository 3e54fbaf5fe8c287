"""Hierarchical conditional VAE of auditory brainstem response (ABR) waveforms.

Names are imported when they are first used (PEP 562): `import hcvae` alone loads no torch.
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
