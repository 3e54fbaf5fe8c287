"""Headers of BrainVision files, checked against the size of the data and for what MNE does not check.

Format: Brain Products, "BrainVision Core Data Format 1.0".
"""

import configparser
from collections.abc import Mapping
from pathlib import Path

from hcvae.counting import repeated
from hcvae.importers.cells import number_of
from hcvae.importers.foreign import companion
from hcvae.importers.lines import text_of
from hcvae.importers.recording import FileError
from hcvae.importers.units import VOLTAGES, uv_per

MAX_HEADER_BYTES = 2**20
MAX_ASCII_BYTES = 64 * 2**20
SAMPLE_BYTES = {"INT_16": 2, "INT_32": 4, "IEEE_FLOAT_32": 4}
"""Bytes of a sample by BinaryFormat."""
COMMON = "Common Infos"
CHANNELS = "Channel Infos"


def channels_of_brainvision(path: Path) -> dict[str, str]:
    """Return the units of the channels with a voltage by name, after a check of the header and its other files.

    Raises:
        FileError: a missing part or file, channels that do not fit the header or are scaled by 0, or data of another
            size.
    """
    sections = _sections(path)
    common = sections[COMMON]
    data = companion(path, _field(common, "DataFile", path))
    if common.get("MarkerFile"):
        companion(path, common["MarkerFile"])
    period_us = number_of(common.get("SamplingInterval"))
    if period_us is None or period_us <= 0:
        raise FileError(path, COMMON, "no positive SamplingInterval", "the time between two samples in us")
    channels = _entries(sections[CHANNELS])
    if number_of(common.get("NumberOfChannels")) != len(channels):
        expected = "as many channels as NumberOfChannels states"
        raise FileError(path, CHANNELS, f"{len(channels)} channels", expected)
    _check_size(sections, len(channels), data, path)
    return _voltages(channels, path)


def _entries(section: Mapping[str, str]) -> list[list[str]]:
    """Return the entry of each channel: name, reference, resolution and unit."""
    entries = []
    for name, text in section.items():
        if name.startswith("Ch"):
            entries.append(text.split(","))
    return entries


def _sections(path: Path) -> Mapping[str, Mapping[str, str]]:
    text = text_of(path.read_bytes()[:MAX_HEADER_BYTES])
    ini = configparser.ConfigParser(interpolation=None, strict=False, comment_prefixes=(";",), delimiters=("=",))
    ini.optionxform = str  # type: ignore[assignment, method-assign]
    ini.read_string("[" + text.partition("[")[2].partition("[Comment]")[0])
    for name in (COMMON, CHANNELS):
        if name not in ini:
            raise FileError(path, "header", f"no section [{name}]", "a complete BrainVision header")
    return {name: dict(section) for name, section in ini.items()}


def _field(section: Mapping[str, str], name: str, path: Path) -> str:
    if not section.get(name):
        raise FileError(path, "header", f"no {name}", "a complete BrainVision header")
    return section[name]


def _check_size(sections: Mapping[str, Mapping[str, str]], channels: int, data: Path, path: Path) -> None:
    """Refuse data that do not hold whole samples of all channels, or not as many as the header states."""
    common = sections[COMMON]
    size = data.stat().st_size
    if common.get("DataFormat", "BINARY").upper() == "ASCII":
        if size > MAX_ASCII_BYTES:
            raise FileError(data, "whole file", f"{size} bytes of text", "binary data; export it as binary")
        return
    form = sections.get("Binary Infos", {}).get("BinaryFormat", "")
    if form not in SAMPLE_BYTES:
        raise FileError(path, "Binary Infos", "another BinaryFormat", f"one of {', '.join(SAMPLE_BYTES)}")
    points, rest = divmod(size, SAMPLE_BYTES[form] * channels)
    stated = number_of(common.get("DataPoints"))
    if rest or not points or (stated is not None and stated != points):
        expected = f"whole samples of {channels} channels in {form}"
        if stated is not None:
            expected += f", {stated:g} of each as DataPoints states"
        raise FileError(data, "whole file", f"{size} bytes", expected)


def _voltages(channels: list[list[str]], path: Path) -> dict[str, str]:
    """Return units by name from the entries of channels: name, reference, resolution and unit."""
    names = [entry[0].replace("\\1", ",") for entry in channels]
    twice = repeated(names)
    if twice:  # MNE would read none of the channels
        found = f"several channels called {min(twice)!r}"
        raise FileError(path, CHANNELS, found, "names that differ; edit one")
    voltages: dict[str, str] = {}
    for name, entry in zip(names, channels, strict=True):
        _, _, resolution, unit = [*entry, "", "", ""][:4]
        if resolution.strip() and not number_of(resolution):
            found = f"the resolution {resolution.strip()[:12]!r} of {name!r}"
            raise FileError(path, CHANNELS, found, "a number other than 0, or nothing")
        if uv_per(unit or "uV") is not None:
            voltages[name] = unit or "uV"
    if not voltages:
        raise FileError(path, CHANNELS, "no voltage", f"a channel with one of the units {VOLTAGES}")
    return voltages
