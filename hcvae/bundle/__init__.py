"""Model bundles: folders with everything that generation needs, without pickle.

model.safetensors  config.json  normalization.json  metrics.json  history.json  README.md
"""

from hcvae.bundle.contents import Bundle, Origin, nonfinite_to_none
from hcvae.bundle.loading import load
from hcvae.bundle.saving import save_bundle
from hcvae.bundle.versions import FORMAT_VERSION

__all__ = ["FORMAT_VERSION", "Bundle", "Origin", "load", "nonfinite_to_none", "save_bundle"]
