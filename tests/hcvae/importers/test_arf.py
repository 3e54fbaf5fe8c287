"""The .arf reader against the published waveforms of the real file, and against files made here by the layout."""

import struct
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.interpolate import CubicSpline
from scipy.signal import butter, sosfiltfilt

from hcvae.errors import UserError
from hcvae.importers.arf import FORMAT
from hcvae.importers.recording import ReadOptions

RECORDS_AT, POINTS_AT = 8811 + 626, 8811 + 626 + 18
"""Bytes of the real file: its first record, and the number of points there (after 2 + 2 + 8 + 2 + 2 + 1 + 1)."""


@pytest.fixture(scope="module")
def real(recordings) -> Path:
    return recordings / "raw" / "biosigrz_mouse_S1.arf"


def read(path):
    return list(FORMAT.read(path, ReadOptions()))


def arf(path: Path, *, rp: bool = False, groups: int = 2, records: int = 2, points: int = 8, stimulus=b"Click") -> Path:
    """A file of the published layout; record r of group g holds the volts 1e-6 (100 g + 10 r + sample)."""
    time, sign = ("i", "h") if rp else ("q", "H")
    body, at, seeks, first = b"", 8810, [], None
    for g in range(groups):
        seeks.append(at + len(body))
        body += struct.pack("<3h", g, g * records, records)
        body += struct.pack("<16s16s16s50s", b"Ann 7", b"left ear", b"", b"Male; see notes") + struct.pack(
            f"<2{time}", 1, 2
        )
        names = [b"Freq", b"Level"] + [b"......"] * 8
        units = [b"kHz", b"dB"] + [b""] * 8
        body += struct.pack("<100s100s" + "15s" * 10 + "5s" * 10, stimulus, b"", *names, *units) + bytes(106)
        for r in range(records):
            first = first or at + len(body)
            body += struct.pack(f"<2h{time}2hBc", r, g, 0, 0, 0, 1, b"\0")
            body += struct.pack(f"<{sign}5f3h2{time}", points, 0.5, 1.0, 40.96, 0, 20, 0, 300, 12, 0, 0)
            body += struct.pack("<10f", 8, 10 * r, *[0] * 8) + bytes(360)
            body += (1e-6 * (100 * g + 10 * r + np.arange(points))).astype("<f4").tobytes()
    head = struct.pack("<3h", 1, groups, groups * records)
    head += np.array(seeks + [0] * (200 - groups), "<i4").tobytes() + np.array([first] + [0] * 1999, "<i4").tobytes()
    path.write_bytes(head + struct.pack("<i", at + len(body)) + body)
    return path


def test_every_record_equals_the_published_table(real, recordings):
    table = pq.read_table(recordings / "mouse_tone_stankovic.parquet").to_pylist()
    condition = ("ear", "stimulus_frequency_hz", "stimulus_level_db")
    got = {
        tuple(r.values[name] for name in condition): r for r in read(real)
    }  # a later record of a condition replaces an earlier: the group of one record was recorded again
    assert len(got) == len(table) == 130
    for row in table:
        r = got[row["ear"], float(str(np.float32(row["stimulus_frequency_hz"]))), row["stimulus_level_db"]]
        for name in ("n_averages", "n_artifacts", "sex", "stimulus_type", "native_rate_hz"):
            assert r.values[name] == row[name], name
        assert r.sampling_rate_hz == row["native_rate_hz"]
        filtered = sosfiltfilt(butter(2, [300, 3000], "bandpass", fs=r.sampling_rate_hz, output="sos"), r.signal_uv)
        on_grid = CubicSpline(r.start_ms + np.arange(len(filtered)) * 1e3 / r.sampling_rate_hz, filtered)
        np.testing.assert_allclose(on_grid(np.arange(200) * 0.05), row["signal"], atol=1e-6 * np.ptp(row["signal"]))


def test_the_real_file_is_recognised_and_complete(real):
    assert FORMAT.recognises(real, real.read_bytes()[:4096])
    found = read(real)
    assert len(found) == 131  # the header's count
    assert {r.subject for r in found} == {"Mouse 1"}
    assert [r.values["recording_index"] for r in found] == list(range(131))


@pytest.mark.parametrize("rp", [False, True])
def test_both_generations(tmp_path, rp):
    found = read(arf(tmp_path / "a.arf", rp=rp))
    assert len(found) == 4
    np.testing.assert_allclose(found[3].signal_uv, 110 + np.arange(8), rtol=1e-6)
    assert found[3].start_ms == 0.5
    assert found[3].values == {
        "ear": "L", "sex": "M", "stimulus_type": "click", "stimulus_level_db": 10.0, "n_averages": 300,
        "n_artifacts": 12, "recording_index": 1, "native_rate_hz": 1e6 / 40.96,
    }  # fmt: skip
    assert found[3].subject == "Ann 7"


def test_frequency_of_a_tone_in_khz(tmp_path):
    (r, *_) = read(arf(tmp_path / "a.arf", stimulus=b"TonePip"))
    assert r.values["stimulus_type"] == "tone_pip"
    assert r.values["stimulus_frequency_hz"] == 8000


@pytest.mark.parametrize("length", [0, 1, 100, 8809, 9000, 9437, 9500, 10000, 100_000, 199_066])
def test_truncated(real, tmp_path, length):
    cut = tmp_path / "cut.arf"
    cut.write_bytes(real.read_bytes()[:length])
    with pytest.raises(UserError, match=r"cut\.arf.*byte \d+.*bytes in a file of"):
        read(cut)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (2, struct.pack("<h", 201), "201 groups"),
        (2, struct.pack("<h", -1), "-1 groups"),
        (6, struct.pack("<i", 2**31 - 1), "first group header of"),
        (10, struct.pack("<i", 8811), "one after another"),  # the second group is the first again
        (8811 + 4, struct.pack("<h", 32767), "byte"),  # records of the first group
        (RECORDS_AT + 18, struct.pack("<H", 65535), "byte"),  # points of the first record
        (RECORDS_AT + 18, struct.pack("<H", 0), "0 points"),
        (RECORDS_AT + 28, struct.pack("<f", 0), "sampling period"),
        (RECORDS_AT + 28, struct.pack("<f", np.nan), "sampling period"),
        (RECORDS_AT + 462, struct.pack("<f", np.inf), "not all finite"),
    ],
)
def test_hostile_numbers(real, tmp_path, at, value, message):
    content = bytearray(real.read_bytes())
    content[at : at + len(value)] = value
    path = tmp_path / "hostile.arf"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read(path)


def test_other_files_are_not_recognised(recordings):
    for path in (recordings / "raw").iterdir():
        assert FORMAT.recognises(path, path.read_bytes()[:4096]) == (path.suffix == ".arf")
    assert not FORMAT.recognises(Path("a.arf"), b"")
