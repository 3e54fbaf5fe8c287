"""EDF, BDF and BrainVision: epochs of recordings written here, and the waveforms of our own EDF."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from hcvae.errors import UserError
from hcvae.importers.mne_formats import FORMAT
from hcvae.importers.recording import ReadOptions
from hcvae.importers.registry import recognise

edfio = pytest.importorskip("edfio")
pybv = pytest.importorskip("pybv")
pytest.importorskip("mne")

RATE = 10_000
ONSETS_S = [0.001, 0.1, 0.2, 0.3, 0.9995]
"""The first and the last have no whole epoch of -5 to 20 ms."""
RANDOM = np.random.default_rng(0)
CZ, A1 = RANDOM.integers(-1000, 1000, (2, RATE)) / 10.0
"""One second in uV."""


def read(path, **mapping):
    assert FORMAT.recognises(path, path.read_bytes()[:4096])
    return list(FORMAT.read(path, ReadOptions(mapping=mapping)))


def epochs(signal, onsets_s=ONSETS_S[1:4], first=-50, last=200):
    return [signal[round(onset * RATE) + first : round(onset * RATE) + last] for onset in onsets_s]


def write_edf(path, texts=None, *, bdf=False, patient=None, **channels):
    kind = (edfio.Bdf, edfio.BdfSignal, None) if bdf else (edfio.Edf, edfio.EdfSignal, edfio.EdfAnnotation)
    whole, channel, annotation = kind
    signals = [
        channel(data, RATE, label=name, physical_dimension="uV", physical_range=(-100, 100))
        for name, data in (channels or {"Cz": CZ, "A1": A1}).items()
    ]
    marks = None if texts is None else [annotation(*mark) for mark in zip(ONSETS_S, [None] * 5, texts, strict=False)]
    whole(signals, annotations=marks, patient=patient or edfio.Patient()).write(path)
    return path


def test_epochs_around_annotations_of_an_edf(tmp_path):
    texts = [f"click {level} dB {ear}" for level, ear in zip((10, 20, 30, 40, 50), "LRLRL", strict=True)]
    path = write_edf(tmp_path / "a.edf", texts)
    found = read(path, signal="Cz", stimulus_level_db=r"(\d+) dB", ear="dB ([LR])")
    np.testing.assert_allclose([r.signal_uv for r in found], epochs(CZ), atol=0.002)  # 16 bits over 200 uV
    assert [r.values["stimulus_level_db"] for r in found] == [20, 30, 40]
    assert [r.values["ear"] for r in found] == ["R", "L", "R"]
    assert {(r.sampling_rate_hz, r.start_ms, r.subject, r.values["n_averages"]) for r in found} == {
        (RATE, -5.0, None, 1)
    }


def test_a_difference_of_channels_and_another_window(tmp_path):
    path = write_edf(tmp_path / "a.edf", ["click"] * 5, patient=edfio.Patient(code="P-7", sex="F", name="Ann_Lee"))
    found = read(path, signal="Cz-A1", epoch_start_ms="0", epoch_end_ms="10", delay_ms="0.9")
    np.testing.assert_allclose([r.signal_uv for r in found[1:]], epochs(CZ - A1, first=0, last=100), atol=0.004)
    assert found[0].start_ms == -0.9  # the sound comes 0.9 ms after the trigger
    assert "Ann_Lee" in found[0].subject  # for the pseudonym only
    assert "Ann" not in str([r.values for r in found])


def test_only_the_mapped_stimuli_and_no_bad_ones(tmp_path):
    texts = ["click", "tone", "click", "click", "click"]
    path = write_edf(tmp_path / "a.edf", texts, Cz=CZ)
    with pytest.raises(UserError, match=r"stimuli of 2 names would be averaged together: 'click' \(4\), 1 others"):
        read(path)
    np.testing.assert_allclose([r.signal_uv for r in read(path, event="tone")], epochs(CZ, [0.1]), atol=0.002)
    signal = edfio.EdfSignal(CZ, RATE, label="Cz", physical_dimension="uV", physical_range=(-100, 100))
    marks = [edfio.EdfAnnotation(onset, None, "click") for onset in ONSETS_S]
    marks.append(edfio.EdfAnnotation(0.21, 0.05, "BAD_cough"))
    edfio.Edf([signal], annotations=marks).write(path)
    np.testing.assert_allclose([r.signal_uv for r in read(path)], epochs(CZ, [0.1, 0.3]), atol=0.002)


@pytest.mark.parametrize("text", ["boundary", "New Segment/", "BAD boundary", "Comment/eyes open"])
def test_annotations_that_are_not_stimuli(tmp_path, text):
    path = write_edf(tmp_path / "a.edf", ["click", "click", text, "click", "click"], Cz=CZ)
    np.testing.assert_allclose([r.signal_uv for r in read(path)], epochs(CZ, [0.1, 0.3]), atol=0.002)


def test_events_of_bids(tmp_path):
    path = write_edf(tmp_path / "sub-07_task-abr_eeg.edf", ["ignored"] * 5, Cz=CZ)
    lines = ["onset\tduration\ttrial_type\tear\tlevel"]
    lines += [
        f"{onset}\t0\tclick\t{ear}\t{level}" for onset, ear, level in zip(ONSETS_S, "LRLRL", range(5), strict=True)
    ]
    (tmp_path / "sub-07_task-abr_events.tsv").write_text("\n".join([*lines, "0.5\t0\tresponse\tn/a\tn/a"]))
    found = read(path, event="click", stimulus_level_db="level")
    np.testing.assert_allclose([r.signal_uv for r in found], epochs(CZ), atol=0.002)
    assert [(r.values["ear"], r.values["stimulus_level_db"]) for r in found] == [("R", 1), ("L", 2), ("R", 3)]
    assert {r.subject for r in found} == {"07"}
    with pytest.raises(UserError, match="did you mean 'level'"):
        read(path, stimulus_level_db="levl")


def test_triggers_of_a_bdf(tmp_path):
    status = np.zeros(RATE)
    for number, onset in enumerate(ONSETS_S):
        status[round(onset * RATE) :][:20] = number % 2 + 1
    cz = edfio.BdfSignal(CZ, RATE, label="Cz", physical_dimension="uV", physical_range=(-262144, 262143))
    code = edfio.BdfSignal(
        status, RATE, label="Status", physical_dimension="Boolean", physical_range=(-(2**23), 2**23 - 1)
    )  # fmt: skip
    edfio.Bdf([cz, code]).write(tmp_path / "a.bdf")
    found = read(tmp_path / "a.bdf", stimulus_level_db="(.)")
    np.testing.assert_allclose([r.signal_uv for r in found], epochs(CZ), atol=0.04)  # 24 bits over 0.5 V
    assert [r.values["stimulus_level_db"] for r in found] == [2, 1, 2]


@pytest.fixture
def brainvision(tmp_path):
    events = [
        {"onset": round(onset * RATE), "duration": 1, "description": n % 2 + 1, "type": "Stimulus"}
        for n, onset in enumerate(ONSETS_S)
    ]
    pybv.write_brainvision(
        data=np.stack([CZ, A1]) * 1e-6, sfreq=RATE, ch_names=["Cz", "A1"], fname_base="b", folder_out=tmp_path,
        events=events,
    )  # fmt: skip
    return tmp_path / "b.vhdr"


def test_brainvision(brainvision):
    found = read(brainvision, signal="A1", stimulus_level_db=r"S\s*(\d)")
    np.testing.assert_allclose([r.signal_uv for r in found], epochs(A1), atol=1e-4)
    assert [r.values["stimulus_level_db"] for r in found] == [2, 1, 2]
    with pytest.raises(UserError, match="2 channels"):
        read(brainvision)


@pytest.mark.parametrize("name", ["../b.eeg", "/etc/passwd", "link.eeg", "none.eeg"])
@pytest.mark.parametrize("entry", ["DataFile=b.eeg", "MarkerFile=b.vmrk"])
def test_brainvision_files_in_other_folders_are_refused(brainvision, tmp_path_factory, entry, name):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "x"
    elsewhere.write_bytes(b"0" * 1000)
    (brainvision.parent / "link.eeg").symlink_to(elsewhere)
    text = brainvision.read_text()
    assert entry in text
    brainvision.write_text(text.replace(entry, entry.partition("=")[0] + "=" + name))
    with pytest.raises(UserError, match="header"):
        read(brainvision, signal="Cz")


def test_own_edf_needs_no_options(tmp_path):
    """The layout of our export: a data record a waveform, its columns as JSON at the record's start."""
    waves, rows = CZ[:800].reshape(4, 200), [{"ear": ear, "subject_id": "s1", "n_averages": 512} for ear in "LRLR"]
    rows = [row | {"stimulus_level_db": 62.5, "age_days": None, "patient_name": "Ann"} for row in rows]
    signal = edfio.EdfSignal(waves.ravel(), 20_000, label="ABR", physical_dimension="uV", physical_range=(-100, 100))
    marks = [edfio.EdfAnnotation(n * 0.01, None, json.dumps(row)) for n, row in enumerate(rows)]
    edfio.Edf([signal], data_record_duration=0.01, annotations=marks).write(tmp_path / "e.edf")
    found = read(tmp_path / "e.edf")
    np.testing.assert_allclose([r.signal_uv for r in found], waves, atol=0.002)
    assert found[1].values == {"ear": "R", "n_averages": 512, "stimulus_level_db": 62.5, "age_days": None}
    assert {(r.subject, r.sampling_rate_hz, r.start_ms) for r in found} == {("s1", 20000.0, 0.0)}


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "2 channels"),
        ({"signal": "Fz"}, "no channel 'Fz'"),
        ({"signal": "Cz", "event": "tone*"}, "no stimulus"),
        ({"signal": "Cz", "ear": "("}, "regular expression"),
        ({"signal": "Cz", "ear": "L"}, "one group"),
        ({"signal": "Cz", "epoch_start_ms": "30"}, "rising"),
        ({"signal": "Cz", "delay_ms": "soon"}, "time in ms"),
    ],
)
def test_mappings_that_do_not_fit(tmp_path, mapping, message):
    path = write_edf(tmp_path / "a.edf", ["click"] * 5)
    with pytest.raises(UserError, match=message):
        read(path, **mapping)


@pytest.mark.parametrize(
    ("at", "text", "message"),
    [
        (184, "99999999", "signals in a header"),
        (236, "99999999", "of which"),
        (236, "zero    ", "whole number"),
        (244, "-1      ", "duration"),
        (252, "9999", "signals in a header"),
        (192, "EDF+D", "gaps"),
        (256 + 96 * 3, "degC    ", "unit"),
        (256 + 216 * 3, "0       ", "of which"),
    ],
)
def test_hostile_headers(tmp_path, at, text, message):
    path = write_edf(tmp_path / "a.edf", ["click"] * 5)
    content = bytearray(path.read_bytes())
    content[at : at + len(text)] = text.encode()
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read(path, signal="Cz")


@pytest.mark.parametrize("length", [0, 100, 256, 1000, 5000])
def test_truncated(tmp_path, length):
    path = write_edf(tmp_path / "a.edf", ["click"] * 5)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UserError, match=r"a\.edf"):
        list(FORMAT.read(path, ReadOptions(mapping={"signal": "Cz"})))


def test_without_mne(tmp_path, monkeypatch):
    path = write_edf(tmp_path / "a.edf", ["click"] * 5)
    monkeypatch.setitem(sys.modules, "mne", None)
    with pytest.raises(UserError, match=r"pip install --editable '\.\[formats\]'"):
        read(path)


def test_other_files_are_not_recognised(recordings):
    for path in (recordings / "raw").iterdir():
        assert not FORMAT.recognises(path, path.read_bytes()[:4096])
    assert not FORMAT.recognises(Path("a.edf"), b"")


def test_bids_files_beside_a_recording_are_companions(tmp_path):
    beside = {f"sub-1_task-abr_{name}" for name in ("events.tsv", "channels.tsv", "eeg.json")}
    beside |= {"sub-1_electrodes.tsv", "sub-1_coordsystem.json"}
    others = {"sub-1_task-abr_eeg.edf", "sub-2_task-abr_events.tsv", "sub-11_electrodes.tsv", "participants.tsv"}
    for name in beside | others:
        (tmp_path / name).touch()
    found = FORMAT.companions(tmp_path / "sub-1_task-abr_eeg.edf")
    assert {path.name for path in found} == beside
    assert FORMAT.companions(tmp_path / "plain.edf") == []


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        ("Cz-Cz", "must be two channels as A-B, but got 'Cz' twice"),
        ("Cz-A9", "no channel 'A9'; known are Cz, A1"),
        ("Fz-A1", "no channel 'Fz'; known are Cz, A1"),
        ("Cz-", "no channel ''; known are Cz, A1"),
        ("-", "no channel '-'; known are Cz, A1"),
    ],
)
@pytest.mark.parametrize("name", ["a.edf", "b.vhdr"])
def test_a_difference_of_channels_that_cannot_be(tmp_path, brainvision, name, signal, message):
    path = brainvision if name == "b.vhdr" else write_edf(tmp_path / name, ["click"] * 5)
    with pytest.raises(UserError, match=f"mapping of signal: {message}"):
        read(path, signal=signal)


def test_an_ambiguous_difference_of_channels(tmp_path):
    channels = {"A": CZ, "B-C": A1, "A-B": A1, "C": CZ}
    path = write_edf(tmp_path / "a.edf", ["click"] * 5, **channels)
    with pytest.raises(UserError, match="'A-B-C' is a difference of channels in more than one way"):
        read(path, signal="A-B-C")
    with pytest.raises(UserError, match="a time in ms, at most 10,000"):
        read(path, signal="C", delay_ms="1e308")


def notes_of(path, **mapping):
    options = ReadOptions(mapping=mapping)
    found = list(FORMAT.read(path, options))
    return found, options.notes


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (256 + 104 * 3, "100     "),  # the physical minimum equals the maximum
        (256 + 104 * 3, "low     "),
        (256 + 120 * 3, "32767   "),  # the digital minimum equals the maximum
    ],
)
def test_a_channel_without_a_scale_is_refused(tmp_path, at, text):
    path = write_edf(tmp_path / "a.edf", ["click"] * 5)
    content = bytearray(path.read_bytes())
    content[at : at + 8] = text.encode()
    path.write_bytes(content)
    with pytest.raises(UserError, match="signal 'Cz': got no scale in the header"):
        read(path, signal="Cz")
    if text != "low     ":  # MNE reads the numbers of all channels
        np.testing.assert_allclose([r.signal_uv for r in read(path, signal="A1")], epochs(A1), atol=0.002)


def test_bytes_after_the_records_of_the_header_are_noted(tmp_path):
    path = write_edf(tmp_path / "a.edf", ["click"] * 5, Cz=CZ)
    path.write_bytes(path.read_bytes() + b"0" * 100)
    found, notes = notes_of(path)
    np.testing.assert_allclose([r.signal_uv for r in found], epochs(CZ), atol=0.002)
    assert notes["100 bytes after the 1 records of the header are not read"] == 1


@pytest.mark.parametrize(("bdf", "name", "right"), [(True, "a.edf", ".bdf"), (False, "a.dat", ".edf or .rec")])
def test_another_suffix(tmp_path, bdf, name, right):
    path = tmp_path / name
    write_edf(tmp_path / "written", None, bdf=bdf, Cz=CZ).rename(path)
    with pytest.raises(UserError, match=f"{name}: name: got .* with the suffix .* must be {right}; rename the file"):
        read(path, signal="Cz")


def test_stimuli_that_are_left_out_are_noted(tmp_path):
    path = tmp_path / "a.edf"
    signal = edfio.EdfSignal(CZ, RATE, label="Cz", physical_dimension="uV", physical_range=(-100, 100))
    marks = [edfio.EdfAnnotation(onset, None, "click") for onset in (*ONSETS_S, 0.2)]
    marks += [edfio.EdfAnnotation(0.31, 0.05, "BAD_cough"), edfio.EdfAnnotation(0.105, None, "New Segment/")]
    edfio.Edf([signal], annotations=marks).write(path)
    found, notes = notes_of(path)
    np.testing.assert_allclose([r.signal_uv for r in found], epochs(CZ, [0.2]), atol=0.002)
    assert notes["stimuli are left out, as their epochs extend beyond the recording"] == 2
    assert notes["stimuli are left out, as their epochs overlap a bad span"] == 2
    assert notes["stimuli are left out, as another one has the same onset: its epoch would be read twice"] == 1


def test_triggers_of_a_mapping_that_are_not_used_are_noted(tmp_path):
    _, notes = notes_of(write_edf(tmp_path / "a.edf", ["click"] * 5, Cz=CZ), trigger="A1", trigger_idle="0")
    assert notes["mapping of trigger is not used: the stimuli are those of the annotations"] == 1
    assert notes["mapping of trigger_idle is not used: the stimuli are those of the annotations"] == 1


@pytest.fixture
def bids(tmp_path):
    """Write a recording with a table of events, and of channels if it has lines."""

    def write(events, channels=()):
        path = write_edf(tmp_path / "sub-07_task-abr_eeg.edf", ["ignored"] * 5, Cz=CZ)
        (tmp_path / "sub-07_task-abr_events.tsv").write_text("\n".join(events) + "\n")
        if channels:
            (tmp_path / "sub-07_task-abr_channels.tsv").write_text("\n".join(channels) + "\n")
        return path

    return write


CODES = {"stimulus_level_db": r"S\s*(\d)"}
"""Mapping that separates the stimuli of the BrainVision recording."""
EVENTS = ["onset\tduration\ttrial_type\tear", *(f"{onset}\t0\tclick\tL" for onset in ONSETS_S[1:4])]


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([line.replace("\t", ",") for line in EVENTS], "line 1: got the columns"),
        ([line.replace("onset", "start") for line in EVENTS], "line 1: .* with 'onset' among them"),
        ([line.replace("ear", "duration") for line in EVENTS], "line 1: .* names that differ"),
        ([*EVENTS, "0.5\t0"], "line 5: got more or fewer cells than names; must be 4 cells"),
        ([*EVENTS, "0.5\t0\tclick\tL\tx"], "line 5: got more or fewer cells than names; must be 4 cells"),
        ([*EVENTS, "0.1\t0\tclick\tR"], "two stimuli with different columns at 0.1 s"),
    ],
)
def test_damaged_tables_of_events(bids, events, message):
    with pytest.raises(UserError, match=message):
        read(bids(events), signal="Cz")


def test_events_twice_give_each_epoch_once(bids):
    found, notes = notes_of(bids([*EVENTS, *EVENTS[1:]]), signal="Cz")
    np.testing.assert_allclose([r.signal_uv for r in found], epochs(CZ), atol=0.002)
    assert notes["stimuli are left out, as another one has the same onset: its epoch would be read twice"] == 3


def test_a_bad_channel_and_another_unit_in_the_table_of_channels_are_noted(bids):
    lines = ["name\ttype\tunits\tstatus", "A1\tEEG\tuV\tbad", "Cz\tEEG\tmV\tbad"]
    _, notes = notes_of(bids(EVENTS, lines), signal="Cz")
    assert notes["channel 'Cz' is marked as bad in the table of channels"] == 1
    assert notes["channel 'Cz' has another unit in the table of channels: that of the header is used"] == 1
    _, notes = notes_of(bids(EVENTS, [line.replace("mV", "µV").replace("bad", "good") for line in lines]), signal="Cz")
    assert notes == {"annotations are not read: the stimuli are those of the table of events": 1}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("NumberOfChannels=2", "NumberOfChannels=1", "got 2 channels; must be as many channels as NumberOfChannels"),
        ("NumberOfChannels=2", "NumberOfChannels=3", "got 2 channels"),
        ("SamplingInterval=100", "SamplingInterval=0", "no positive SamplingInterval"),
        ("SamplingInterval=100", "SamplingInterval=x", "no positive SamplingInterval"),
        ("SamplingInterval=", "DataPoints=7\nSamplingInterval=", "7 of each as DataPoints states"),
        ("IEEE_FLOAT_32", "FLOAT_64", "another BinaryFormat; must be one of INT_16"),
        ("[Common Infos]", "[Infos]", r"no section \[Common Infos\]"),
        ("[Channel Infos]", "[Infos]", r"no section \[Channel Infos\]"),
        ("DataFile=b.eeg", "DataFile=", "no DataFile"),
        ("Ch1=Cz,,0.1", "Ch1=Cz,,0", "resolution '0' of 'Cz'"),
        ("Ch1=Cz,,0.1,µV", "Ch1=Cz,,0.1,°C", "no channel 'Cz'; known are A1"),
    ],
)
def test_a_brainvision_header_that_contradicts_itself_or_the_data(brainvision, old, new, message):
    text = brainvision.read_text()
    assert old in text
    brainvision.write_text(text.replace(old, new))
    with pytest.raises(UserError, match=message):
        read(brainvision, signal="Cz")


@pytest.mark.parametrize(("unit", "uv"), [("nV", 1e-3), ("mV", 1e3), ("V", 1e6)])
def test_units_of_brainvision(brainvision, unit, uv):
    brainvision.write_text(brainvision.read_text().replace("Ch1=Cz,,0.1,µV", f"Ch1=Cz,,0.1,{unit}"))
    found = read(brainvision, signal="Cz", **CODES)
    np.testing.assert_allclose([r.signal_uv for r in found], np.array(epochs(CZ)) * uv, rtol=1e-5)


def test_truncated_data_of_brainvision(brainvision):
    data = brainvision.with_suffix(".eeg")
    content = data.read_bytes()
    data.write_bytes(content[: len(content) // 4])  # 0.25 s: a whole number of samples
    found, notes = notes_of(brainvision, signal="Cz", **CODES)
    np.testing.assert_allclose([r.signal_uv for r in found], epochs(CZ, [0.1, 0.2]), atol=1e-4)
    assert notes["annotations or markers outside the recording are left out; are the data complete?"] == 1
    for length in (0, len(content) // 4 + 3):
        data.write_bytes(content[:length])
        with pytest.raises(UserError, match=f"got {length} bytes; must be whole samples of 2 channels"):
            read(brainvision, signal="Cz")


def test_samples_that_are_not_numbers(brainvision):
    data = brainvision.with_suffix(".eeg")
    samples = np.fromfile(data, "<f4")
    samples[2 * round(0.201 * RATE)] = np.nan
    samples.tofile(data)
    with pytest.raises(UserError, match=r"waveform 1 \(from 0\): got samples that are not finite"):
        read(brainvision, signal="Cz", **CODES)


@pytest.mark.parametrize("suffix", [".eeg", ".vmrk"])
def test_the_data_instead_of_the_header(brainvision, suffix):
    with pytest.raises(UserError, match=r"give b\.vhdr, with which it is read"):
        recognise(brainvision.with_suffix(suffix))


@pytest.mark.parametrize(
    ("description", "note"),
    [
        ('{"SamplingFrequency": 5000}', "the description gives a sampling rate of 5000 Hz: that of the header, 10000"),
        ("{", "the description in JSON is damaged and not read"),
        ('{"SamplingFrequency": 10000}', None),
        ("[]", None),
    ],
)
def test_a_description_that_contradicts_the_header_is_noted(bids, description, note):
    path = bids(EVENTS)
    path.with_suffix(".json").write_text(description)
    found, notes = notes_of(path, signal="Cz")
    np.testing.assert_allclose([r.signal_uv for r in found], epochs(CZ), atol=0.002)
    about_it = [text for text in notes if "description" in text]
    assert len(about_it) == (note is not None)
    assert all(text.startswith(note) for text in about_it)
