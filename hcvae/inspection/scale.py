"""Check for implausible amplitudes, for example volts instead of microvolts or a gain that was not applied.

Peak-to-peak amplitudes of averaged surface recordings, at the subject's highest levels. Adults: wave V of 0.1 to 1 uV,
the whole response up to about twice that (Hall 2007, New Handbook of Auditory Evoked Responses; Picton 2010, Human
Auditory Evoked Potentials). Rodents, needle electrodes: waves of 0.5 to 10 uV (Zhou et al. 2006, Brain Res. 1091:16;
Kujawa & Liberman 2009, J. Neurosci. 29:14077). A factor of 2 is allowed on both sides.
"""

import numpy as np

from hcvae.counting import counted
from hcvae.data.table import SPECIES
from hcvae.finding import Finding
from hcvae.inspection.recordings import Recordings, groups

HUMAN_UV = (0.1, 2.0)
RODENT_UV = (0.5, 10.0)
RODENTS = ("mouse", "rat", "gerbil", "hamster", "guinea pig", "chinchilla")
MARGIN = 2.0
OUTLIER_FACTOR = 10.0
"""Ratio of a row's RMS and its subject's median from which the row is an outlier, or its inverse."""
MAX_LISTED = 5
"""Subjects that a finding lists."""
UNITS = {"volts": 1e6, "millivolts": 1e3, "nanovolts": 1e-3}
"""uV per unit."""


def check(recordings: Recordings) -> list[Finding]:
    """Find subjects with amplitudes implausible for their species, and rows that differ from their subject's others."""
    return [*_wrong_unit(recordings), *_subjects(recordings), *_rows(recordings)]


def _wrong_unit(recordings: Recordings) -> list[Finding]:
    unit = recordings.unit
    if unit == "uV":
        return []
    return [
        Finding(
            f"the waveforms are in {unit}",
            f"the metadata of column 'signal' give the unit {unit!r}, but uV is expected",
            "convert the waveforms to uV",
        )
    ]


def _subjects(recordings: Recordings) -> list[Finding]:
    """Return one finding for all subjects of a species below its range, and one for those above it."""
    amplitude_uv, species = _amplitudes(recordings)
    findings: list[Finding] = []
    for name in sorted(set(species.values())):
        low, high = _range_uv(name)
        small: dict[str, float] = {}
        large: dict[str, float] = {}
        subjects = 0
        for subject, size in amplitude_uv.items():
            if species[subject] == name:
                subjects += 1
                if size < low / MARGIN:
                    small[subject] = size
                if size > high * MARGIN:
                    large[subject] = size
        for group in (small, large):
            if group:
                findings.append(_scale_finding(group, subjects, name, low, high))
    return findings


def _amplitudes(recordings: Recordings) -> tuple[dict[str, float], dict[str, str]]:
    """Return the median peak-to-peak amplitude in uV at the highest levels, and the species, of each subject."""
    _, subject = np.unique(recordings.subject, return_inverse=True)
    known: list[str | None] = [None] * len(recordings)
    if SPECIES in recordings.scalars.column_names:
        known = recordings.scalars[SPECIES].to_pylist()
    amplitude = {}
    species = {}
    for rows in groups(subject, recordings.highest(subject)):
        name = str(recordings.subject[rows[0]])
        amplitude[name] = float(np.median(np.ptp(recordings.signals_uv[rows], axis=1)))
        species[name] = str(known[rows[0]] or "")
    return amplitude, species


def _range_uv(species: str) -> tuple[float, float]:
    if species.lower() == "human":
        return HUMAN_UV
    if species.lower() in RODENTS:
        return RODENT_UV
    return HUMAN_UV[0], RODENT_UV[1]


def _guess(typical: float, low: float, high: float) -> str:
    """Return what may bring the amplitude `typical` into the range: a unit or gain, or else a factor."""
    for unit, times in UNITS.items():
        if low <= typical * times <= high:
            return f"they fit values in {unit} stored as uV, or a gain of {times:g} that was not applied"
    return f"a factor of {_short(low / typical)} to {_short(high / typical)} would bring them into the range"


def _scale_finding(sizes: dict[str, float], of_all: int, species: str, low: float, high: float) -> Finding:
    typical = float(np.median(list(sizes.values())))
    if typical < low:
        problem = "small"
        range_relation = f"{_short(low / typical)} times more"
    else:
        problem = "large"
        range_relation = f"{_short(typical / high)} times less"
    listed = ", ".join(f"{subject} {size:.3g}" for subject, size in list(sizes.items())[:MAX_LISTED])
    if len(sizes) > MAX_LISTED:
        listed += ", ..."
    guess = _guess(typical, low, high)
    return Finding(
        f"amplitudes are too {problem} for {species or 'an unknown species'}",
        f"{len(sizes)} of {counted(of_all, 'subject')}; peak to peak at their highest levels, in uV: {listed}; the "
        f"published range is {low:g} to {high:g}, {range_relation}; {guess}",
        "look up the unit and the amplifier's gain in the recording, and scale the waveforms; until then leave them "
        "out where absolute amplitude matters, or train with a scale for each group, such as species: "
        "--normalization.group_by species, with species in --data.static",
    )


def _short(number: float) -> str:
    """Format with two significant digits, without an exponent if readable."""
    return f"{float(f'{number:.2g}'):g}"


def _rows(recordings: Recordings) -> list[Finding]:
    """Find rows whose RMS is far from their subject's median."""
    rms = np.sqrt(np.mean(recordings.signals_uv.astype(np.float64) ** 2, axis=1))
    _, subject = np.unique(recordings.subject, return_inverse=True)
    ratio = np.full(len(rms), np.nan)
    for rows in groups(subject, recordings.usable):
        ratio[rows] = rms[rows] / np.median(rms[rows])
    outliers = {"larger": np.flatnonzero(ratio > OUTLIER_FACTOR), "smaller": np.flatnonzero(ratio < 1 / OUTLIER_FACTOR)}
    findings: list[Finding] = []
    for comparison, rows in outliers.items():
        if rows.size:
            factor = float(np.median(np.maximum(ratio[rows], 1 / ratio[rows])))
            findings.append(
                Finding(
                    f"single rows are much {comparison} than the others of their subject",
                    f"{rows.size} of {counted(len(recordings), 'row')}, RMS about {factor:.3g} times {comparison} than "
                    f"their subject's median: {recordings.named(rows)}",
                    "compare the gain of these recordings with that of the others, and leave out artefacts",
                )
            )
    return findings
