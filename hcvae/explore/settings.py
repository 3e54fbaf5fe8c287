"""What the page says of a waveform, in a form that the browser can keep."""

from dataclasses import dataclass

from hcvae.config import Section
from hcvae.data.preprocessing import ConditionValue

ALONE = ""
"""In place of a reference's name: none, the latent is the typical one."""


class Setting(Section):
    """What the sliders say, and from where."""

    condition: dict[str, ConditionValue]
    """Every static column."""
    shifts: dict[str, tuple[float, ...]]
    """For each latent block, how far along its leading directions, in standard deviations."""
    a: str = ALONE
    """The reference whose global latent, and intermediate levels, the shifts start from."""
    b: str = ALONE
    """The reference whose local latent the shifts start from."""


class Reference(Section):
    """A frozen setting, or a recording."""

    name: str
    """In the legend."""
    condition: dict[str, ConditionValue]
    """Every static column."""
    latents: dict[str, tuple[float, ...]]
    """By block: of the setting, or the mean of the recording's posterior."""
    row: int | None = None
    """Of the table, where it is a recording: then the recorded waveform is shown, not what the model makes of it."""


@dataclass(frozen=True)
class Page:
    """All that the page holds."""

    setting: Setting
    references: tuple[Reference, ...] = ()
    shown: tuple[str, ...] = ()
    """The names of the references that are drawn."""

    def named(self, name: str) -> Reference:
        """The reference of that name."""
        return next(reference for reference in self.references if reference.name == name)
