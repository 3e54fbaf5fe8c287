"""WFDB records in the layout of earndb and earh, written here: none of the originals' samples is at hand.

The raw header is that of the one record of earndb (n8_evoked_raw_95_F1_R9) which the wfdb package has among its test
data; the averages' names and comments, and those of earh, are as public readers of the databases take them.
"""

import sys

import numpy as np
import pytest

from hcvae.errors import UserError
from hcvae.importers.recording import ReadOptions
from hcvae.importers.wfdb_format import FORMAT

wfdb = pytest.importorskip("wfdb")
RANDOM = np.random.default_rng(0)
TRIAL = 2002
COMMENT = "<SPL>: 95 <Stim Freq (kHz)>: 1 <Ear>: r <Trial Length (samples)>: 2002 <Condition>: Normal"


def read(path, **mapping):
    assert FORMAT.recognises(path, path.read_bytes()[:4096])
    return list(FORMAT.read(path, ReadOptions(mapping=mapping)))


@pytest.fixture
def raw(tmp_path):
    """The path of a record of five trials and a bit, and its digital ABR."""
    counts = RANDOM.integers(-(2**22), 2**22, (5 * TRIAL + 700, 2))
    name = "n8_evoked_raw_95_F1_R9"
    wfdb.wrsamp(
        name, 48000, ["nV", "V"], ["a", "b"], d_signal=counts, fmt=["24", "24"], adc_gain=[1, 1], baseline=[0, 0],
        write_dir=str(tmp_path),
    )  # fmt: skip
    (tmp_path / f"{name}.hea").write_text(
        f"{name} 2 48000 {len(counts)}\n{name}.dat 24 2.4011e-11/nV\n{name}.dat 24 6.8094e-14/V\n##{COMMENT}"
    )
    return tmp_path / f"{name}.hea", counts[:, 0]


def write(folder, name, signals, **settings):
    """A record of channels in 32 bits: a dict of name to (unit, samples, gain)."""
    units, samples, gains = zip(*signals.values(), strict=True)
    wfdb.wrsamp(
        name, 48000, list(units), list(signals), d_signal=np.stack(samples, axis=1), fmt=["32"] * len(signals),
        adc_gain=list(gains), baseline=[0] * len(signals), write_dir=str(folder), **settings,
    )  # fmt: skip
    return folder / f"{name}.hea"


def test_trials_of_a_raw_record(raw):
    path, counts = raw
    found = read(path)
    assert len(found) == 5
    # 24 bits of an amplifier of +-10 V and 50,000-fold gain: 2.4e-11 is volts a count, whatever the header calls it
    np.testing.assert_allclose(np.concatenate([r.signal_uv for r in found]), counts[: 5 * TRIAL] * 2.4011e-5)
    assert found[4].values == {
        "species": "human", "ear": "R", "stimulus_type": "tone_pip", "stimulus_frequency_hz": 1000.0,
        "stimulus_level_db": 95.0, "level_reference": "dB peSPL", "n_averages": 1, "recording_index": 9,
        "native_rate_hz": 48000.0,
    }  # fmt: skip
    assert {(r.subject, r.sampling_rate_hz, r.start_ms) for r in found} == {("N8", 48000.0, 0.0)}


def test_averages_of_the_halves(tmp_path):
    for half in (1, 2):
        counts = RANDOM.integers(-(2**20), 2**20, TRIAL)
        comments = ["<SPL>: 100 <Stim Freq (kHz)>: 4 <Ear>: l <wnsfmp>: 1.5"]
        signals = {"ABR": ("nV", counts, 1000.0), "OAE": ("V", counts, 1e9)}
        (r,) = read(write(tmp_path, f"N1_evoked_ave100_F4_R{half}", signals, comments=comments))
        np.testing.assert_allclose(r.signal_uv, counts / 1000 / 1000)
        assert {
            "half": half,
            "recording_index": 1,
            "ear": "L",
            "stimulus_frequency_hz": 4000.0,
        }.items() <= r.values.items()
        assert "n_averages" not in r.values
        assert r.subject == "N1"


def test_trials_by_the_trigger_of_earh(tmp_path):
    starts = 300 + TRIAL * np.arange(4)
    trigger, abr = np.zeros(300 + 4 * TRIAL, dtype=int), RANDOM.integers(-1000, 1000, 300 + 4 * TRIAL)
    for start in starts:
        trigger[start : start + 50] = 1000
    signals = {"Trigger": ("V", trigger, 1000.0), "ABR": ("uV", abr, 10.0), "OAE": ("V", abr, 10.0)}
    found = read(write(tmp_path, "h2_l_4kHz_70_3", signals))
    np.testing.assert_allclose([r.signal_uv for r in found], [abr[start : start + TRIAL] / 10 for start in starts])
    assert (found[0].subject, found[0].values["ear"]) == ("H2", "L")
    assert (found[0].values["stimulus_level_db"], found[0].values["stimulus_frequency_hz"]) == (70.0, 4000.0)


def test_other_records_by_a_mapping(tmp_path):
    counts = RANDOM.integers(-1000, 1000, 48000 * 2)
    signals = {"Cz": ("mV", counts, 1e5), "Fz": ("mV", counts, 1e5)}
    path = write(tmp_path, "clicks", signals, comments=["<level>: 60 <who>: Ann"])
    found = read(path, signal="Cz", trial_samples="24000", stimulus_level_db="level", half="0")
    np.testing.assert_allclose([r.signal_uv for r in found], counts.reshape(4, -1) / 1e5 * 1e3)
    assert (found[3].values, found[3].subject) == (
        {"stimulus_level_db": 60.0, "half": 0.0, "native_rate_hz": 48000.0},
        None,
    )
    with pytest.raises(UserError, match="0: Cz"):
        read(path, trial_samples="24000")
    with pytest.raises(UserError, match="trial_samples"):
        read(path, signal="Cz")
    with pytest.raises(UserError, match="no 'lvl'"):
        read(path, signal="Cz", trial_samples="24000", stimulus_level_db="lvl")


@pytest.mark.parametrize("name", ["../{}", "/etc/passwd", "C:\\x.dat", "sub/x.dat", "s3://bucket/x.dat", "link.dat"])
def test_files_in_other_folders_are_refused(raw, tmp_path, name):
    path, _ = raw
    (tmp_path / "below").mkdir()
    outside = tmp_path / "n8_evoked_raw_95_F1_R9.dat"
    header = tmp_path / "below" / "n8.hea"
    (tmp_path / "below" / "link.dat").symlink_to(outside)
    text = path.read_text().replace("n8_evoked_raw_95_F1_R9.dat", name.format(outside.name))
    header.write_text(text.replace("n8_evoked_raw_95_F1_R9 ", "n8 "))
    with pytest.raises(UserError, match=r"in the same folder|cannot be read"):
        read(header)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("10710", "107100000000", "but a data file of"),
        ("10710", "0", "no signals or samples"),
        (" 24 2.4", " 516 2.4", "format 516"),
        (" 24 2.4", " 24x4096 2.4", "samples a frame"),
        ("2002", "1", "trial length of 1"),
        ("2002", "99999", "trial length"),
        ("2.4011e-11/nV", "2.4011e-11/Pa", "one channel"),
        ("n8_evoked_raw_95_F1_R9 2", "n8_evoked_raw_95_F1_R9/3 2", "."),
        (".dat", ".xyz", "a missing file"),
    ],
)
def test_hostile_headers(raw, old, new, message):
    path, _ = raw
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        list(FORMAT.read(path, ReadOptions()))


def test_truncated_and_empty(raw):
    path, _ = raw
    data = path.with_suffix(".dat")
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(UserError, match="but a data file of"):
        read(path)
    path.write_text("")
    assert not FORMAT.recognises(path, b"")
    with pytest.raises(UserError, match="cannot be read"):
        list(FORMAT.read(path, ReadOptions()))


def test_without_wfdb(raw, monkeypatch):
    monkeypatch.setitem(sys.modules, "wfdb", None)
    with pytest.raises(UserError, match=r"pip install --editable '\.\[formats\]'"):
        read(raw[0])


def test_other_files_are_not_recognised(recordings):
    raw = [*(recordings / "raw").iterdir()]
    assert raw
    for path in raw:
        assert not FORMAT.recognises(path, path.read_bytes()[:4096])


@pytest.fixture
def marked(tmp_path):
    """A record of eight trials, annotated as high and low in turn, and its trials in uV."""
    abr = RANDOM.integers(-1000, 1000, 8 * TRIAL)
    path = write(tmp_path, "lab", {"ABR": ("uV", abr, 10.0)})
    at = TRIAL * np.arange(8)
    wfdb.wrann("lab", "atr", at, ["N"] * 8, aux_note=["high 70", "low 30"] * 4, write_dir=str(tmp_path))
    return path, (abr / 10).reshape(8, TRIAL)


def test_annotations_with_different_names_are_separated(marked):
    path, trials = marked
    with pytest.raises(UserError, match=r"stimuli of 2 names .*'high 70' \(4\), 'low 30' \(4\)"):
        read(path, trial_samples=str(TRIAL))
    low = read(path, trial_samples=str(TRIAL), event="low 30")
    np.testing.assert_allclose([r.signal_uv for r in low], trials[1::2])
    found = read(path, trial_samples=str(TRIAL), stimulus_level_db=r"(\d+)")
    np.testing.assert_allclose([r.signal_uv for r in found], trials)
    assert [r.values["stimulus_level_db"] for r in found] == [70, 30] * 4


@pytest.mark.parametrize("idle", [0, 5])
def test_codes_of_a_trigger_are_separated(tmp_path, idle):
    trigger, abr = np.full(300 + 4 * TRIAL, idle), RANDOM.integers(-1000, 1000, 300 + 4 * TRIAL)
    for number, start in enumerate(300 + TRIAL * np.arange(4)):
        trigger[start : start + 50] = idle + 1 + number % 2
    path = write(tmp_path, "lab", {"Trigger": ("V", trigger, 1.0), "ABR": ("uV", abr, 10.0)})
    with pytest.raises(UserError, match=rf"stimuli of 2 names .*'{idle + 1}' \(2\), '{idle + 2}' \(2\)"):
        read(path)
    found = read(path, stimulus_level_db="(.*)")
    assert [r.values["stimulus_level_db"] for r in found] == [idle + 1, idle + 2] * 2
    np.testing.assert_allclose(found[0].signal_uv, abr[300 : 300 + TRIAL] / 10)


def test_a_noisy_trigger_rises_through_the_middle_of_its_range(tmp_path):
    starts = 300 + TRIAL * np.arange(4)
    trigger, abr = RANDOM.normal(0, 20, 300 + 4 * TRIAL), RANDOM.integers(-1000, 1000, 300 + 4 * TRIAL)
    for start in starts:
        trigger[start : start + 50] += 1000
    path = write(tmp_path, "lab", {"Trigger": ("V", trigger.astype(int), 1000.0), "ABR": ("uV", abr, 10.0)})
    np.testing.assert_allclose([r.signal_uv for r in read(path)], [abr[s : s + TRIAL] / 10 for s in starts])


@pytest.fixture
def clicks(tmp_path):
    """The path of a record of eight trials, its samples, and the mapping with which it is read."""
    counts = RANDOM.integers(-1000, 1000, 8 * TRIAL)
    path = write(tmp_path, "clicks", {"Cz": ("mV", counts, 1e5), "Fz": ("mV", counts, 1e5)})
    return path, counts, {"signal": "Cz", "trial_samples": str(TRIAL)}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("clicks 2 ", "clicks 1 ", "1 signals, but 2 signal lines"),
        ("clicks 2 ", "clicks 3 ", "3 signals, but 2 signal lines"),
        ("100000.0(0)/mV", "0(0)/mV", "signal 0: got no gain .not calibrated."),
    ],
)
def test_a_header_that_contradicts_itself(clicks, old, new, message):
    path, _, mapping = clicks
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError, match=message):
        read(path, **mapping)


def test_the_signal_file_of_another_record(clicks):
    path, counts, mapping = clicks
    other = np.stack([counts[::-1], counts[::-1]], axis=1).astype("<i4")
    assert other[0, 0] != counts[0]
    path.with_suffix(".dat").write_bytes(other.tobytes())
    with pytest.raises(UserError, match=f"the initial value {counts[0]}, but a first sample of {counts[-1]}"):
        read(path, **mapping)


def test_what_is_not_read_is_noted(clicks):
    path, counts, mapping = clicks
    raw = np.stack([counts, counts], axis=1).astype("<i4")
    raw[TRIAL + 5] = -(2**31)  # the invalid sample of 32 bits
    path.with_suffix(".dat").write_bytes(raw.tobytes() + bytes(1000))
    options = ReadOptions(mapping=mapping | {"event": "click", "trigger_idle": "0", "stimulus_level_db": r"(\d+)"})
    found = list(FORMAT.read(path, options))
    trials = counts.reshape(8, -1)[[0, *range(2, 8)]]
    np.testing.assert_allclose([r.signal_uv for r in found], trials / 1e5 * 1e3)
    assert options.notes["trials with invalid samples are left out"] == 1
    assert sum("a signal file has more samples than the" in note for note in options.notes) == 1
    for name in ("event", "trigger_idle", "stimulus_level_db"):
        assert any(note.startswith(f"mapping of {name} is not used") for note in options.notes)


def test_mappings_that_are_not_used_are_noted_in_their_order(clicks):
    path, _, mapping = clicks
    unused = {"trigger_idle": "0", "stimulus_rate_hz": r"(\d+)", "event": "click", "stimulus_level_db": r"(\d+)"}
    options = ReadOptions(mapping=mapping | unused)
    list(FORMAT.read(path, options))
    notes = [note.split()[2] for note in options.notes if "is not used" in note]
    assert notes == list(unused)


def test_a_length_of_a_trial_that_is_not_whole(clicks):
    path, _, mapping = clicks
    with pytest.raises(UserError, match=r"a trial length of 2002\.7"):
        read(path, **mapping | {"trial_samples": "2002.7"})
