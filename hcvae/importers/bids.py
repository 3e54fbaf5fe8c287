"""Tables and descriptions that BIDS puts beside a recording.

Format: Brain Imaging Data Structure, electroencephalography.
"""

import csv
import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hcvae.importers.columns import as_number
from hcvae.importers.lines import MAX_BYTES, lines_of
from hcvae.importers.recording import ReadOptions
from hcvae.importers.units import uv_per

if TYPE_CHECKING:
    TableRows = csv.DictReader[str]
else:
    TableRows = csv.DictReader  # takes no type before Python 3.12, and the API reference evaluates annotations

MAX_DESCRIPTION_BYTES = 2**20


def table_beside(path: Path, kind: str) -> Path | None:
    """Return a table of BIDS: `sub-1_task-abr_events.tsv` of the kind `events` for `sub-1_task-abr_eeg.edf`."""
    name, suffix, _ = path.stem.rpartition("_eeg")
    table = path.with_name(f"{name}_{kind}.tsv")
    if not suffix or not table.is_file() or table.resolve().parent != path.parent.resolve():
        return None
    return table


def rows_of_table(table: Path, max_bytes: int = MAX_BYTES) -> TableRows:
    """Return the lines of a table of BIDS, each as a dictionary of its cells by column."""
    texts = (line for _, line in lines_of(table, max_bytes=max_bytes))
    return csv.DictReader(texts, delimiter="\t", quoting=csv.QUOTE_NONE)


def note_bids_channels(path: Path, signals: Collection[str], units: Mapping[str, str], options: ReadOptions) -> None:
    """Note channels that the BIDS table of channels marks as bad, or to which it gives another unit than the header.

    Args:
        path: the recording.
        signals: channels that are read.
        units: unit in the header of each channel.
        options: collects the notes.
    """
    table = table_beside(path, "channels")
    if table is None:
        return
    for line in rows_of_table(table):
        name = line.get("name") or ""
        if name not in signals:
            continue
        if (line.get("status") or "").strip().lower() == "bad":
            options.note(f"channel {name!r} is marked as bad in the table of channels")
        stated = uv_per(line.get("units") or "")
        if stated is not None and stated != uv_per(units[name]):
            options.note(f"channel {name!r} has another unit in the table of channels: that of the header is used")


def note_bids_rate(path: Path, rate_hz: float, options: ReadOptions) -> None:
    """Note another sampling rate in the description `sub-1_task-abr_eeg.json`, or a description that is no JSON."""
    description = path.with_suffix(".json")
    if not path.stem.endswith("_eeg") or not description.is_file() or description.is_symlink():
        return
    try:
        fields = json.loads(description.read_bytes()[:MAX_DESCRIPTION_BYTES])
    except (ValueError, RecursionError):
        options.note("the description in JSON is damaged and not read")
        return
    if not isinstance(fields, dict):
        return
    stated = as_number(fields.get("SamplingFrequency"))
    if stated is not None and not math.isclose(stated, rate_hz, rel_tol=1e-3):
        options.note(
            f"the description gives a sampling rate of {stated:g} Hz: that of the header, {rate_hz:g}, is used"
        )
