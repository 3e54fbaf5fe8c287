"""The finding and the warning for models that reconstruct no better than the mean of the waveforms."""

from collections.abc import Mapping

from hcvae.finding import Finding

MEAN_NMSE = 1.0
"""NMSE of a prediction of the mean: the mean squared error is then the variance."""
REMEDY = (
    "run `hcvae inspect` on the tables: each part of the split should contain several subjects, levels and stimuli; "
    "train longer (--training.epochs); lower the KL weights (--training.loss_weights.global_kl, "
    "--training.loss_weights.local_kl); where species or set-ups differ in amplitude, scale them separately "
    "(--normalization.group_by species, with species in --data.static)"
)


def poor_reconstruction(nmse: Mapping[str, float | None]) -> Finding | None:
    """Return a finding if a model reconstructs no better than the mean.

    Args:
        nmse: `reconstruction_nmse` by the part of the split on which it was measured; None where it is not known.
    """
    listed = []
    for part, value in nmse.items():
        if value is not None and value >= MEAN_NMSE:
            listed.append(f"{value:.4f} on the {part} part")
    if not listed:
        return None
    evidence = f"reconstruction_nmse is {' and '.join(listed)}; the mean of all waveforms reaches {MEAN_NMSE:g}"
    return Finding("poor reconstruction", evidence, REMEDY)


def reconstruction_warning(nmse: Mapping[str, float | None]) -> list[str]:
    """Return lines that warn of a model which reconstructs no better than the mean; none for a better one."""
    found = poor_reconstruction(nmse)
    if found is None:
        return []
    return [
        f"warning: the model reconstructs no better than the mean: {found.evidence}",
        f"  what to do: {found.remedy}",
    ]
