"""The state of the page of `hcvae explore`, in a form that the browser can keep."""

from dataclasses import dataclass

from hcvae.config import Section
from hcvae.data.preprocessing import ConditionValue

ALONE = ""
"""Instead of a reference's name: the latent is the prior's mean."""


class Setting(Section):
    """The positions of the sliders, and the latents that they shift."""

    condition: dict[str, ConditionValue]
    """Every static column."""
    shifts: dict[str, tuple[float, ...]]
    """Shifts of each latent block along its leading directions, in standard deviations."""
    a: str = ALONE
    """The reference whose global latent, and intermediate levels, the shifts start from."""
    b: str = ALONE
    """The reference whose local latent the shifts start from."""


class Reference(Section):
    """A frozen setting, or a recording."""

    name: str
    """As in the legend."""
    condition: dict[str, ConditionValue]
    """Every static column."""
    latents: dict[str, tuple[float, ...]]
    """By block: the setting's, or the mean of the recording's posterior."""
    row: int | None = None
    """Of the table, if it is a recording: then the recorded waveform is shown, not its reconstruction."""


@dataclass(frozen=True)
class Page:
    """The setting and the references of the page."""

    setting: Setting
    references: tuple[Reference, ...] = ()
    shown: tuple[str, ...] = ()
    """The names of the references to plot."""

    def named(self, name: str) -> Reference:
        """Return the reference of that name."""
        return next(reference for reference in self.references if reference.name == name)
