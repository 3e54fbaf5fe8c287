"""The MATLAB reader against scipy, h5py and the real digest."""

import contextlib
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from hcvae.errors import UserError
from hcvae.importers import matlab_version_5
from hcvae.importers.file_result import ImportOptions
from hcvae.importers.importing import read_file
from hcvae.importers.matlab import FORMAT
from hcvae.importers.recording import ReadOptions
from hcvae.importers.steps import Grid, Steps

RANDOM = np.random.default_rng(0)
HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x100) + b"IM"


def read(path, **mapping):
    return list(FORMAT.read(path, ReadOptions(mapping=mapping)))


@pytest.fixture(scope="module")
def digest(recordings) -> Path:
    return recordings / "raw" / "shipm_human_H1.mat"


def test_the_digest_holds_only_recorded_averages(digest):
    found = read(digest)
    levels = loadmat(digest)["ABR"].ravel()
    assert len(found) == 13 * 9
    recorded = [0, 1, 2, 3, 4, 5, 9, 10, 11]  # of 500, 1000, 2000 sweeps; those between are of 1500, which was not
    for level, first in zip(levels, range(0, len(found), 9), strict=True):
        np.testing.assert_array_equal([r.signal_uv for r in found[first : first + 9]], level["p"][recorded])
        assert {r.values["stimulus_level_db"] for r in found[first : first + 9]} == {int(level["intensity"].item())}
    assert [r.values["n_averages"] for r in found[:9]] == [500] * 3 + [1000] * 3 + [2000] * 3
    assert [r.values["recording_index"] for r in found[:9]] == list(range(1, 10))
    assert {(r.sampling_rate_hz, r.start_ms, r.subject) for r in found} == {(20000.0, 0.0, None)}


@pytest.mark.parametrize("level", [30, 60])
def test_the_digest_is_what_the_device_exported(digest, recordings, level):
    lines = (recordings / "raw" / f"ihs_smartep_human_H1_{level}dB.TXT").read_text("latin-1").splitlines()
    from_zero = np.array([line.split(",")[2 : 2 + 9 * 6 : 6] for line in lines[21 + 529 :]], dtype=float)  # Average(uV)
    found = [r for r in read(digest) if r.values["stimulus_level_db"] == level]
    np.testing.assert_allclose([r.signal_uv for r in found], from_zero.T, atol=1e-4)


def exported(path: Path) -> tuple[Path, dict]:
    """Two waveforms as our own export writes them."""
    abr = {
        "signal": RANDOM.normal(size=(2, 40)).astype(np.float32),
        "time_ms": np.arange(40) * 0.05,
        "sampling_rate_hz": 20000.0,
        "subject_id": np.array(["a", "b"], dtype=object),
        "ear": np.array(["L", ""], dtype=object),
        "n_averages": [512.0, np.nan],
        "stimulus_level_db": [80.0, 62.5],
        "peak_latency_ms": [[1.5, 2.5, 3.5, 4.5, 5.5], [np.nan] * 5],
        "peak_amplitude_uv": [[1, 2, 3, 4, np.nan], [np.nan] * 5],
        "peak_valid": np.array([[True, True, True, False, True], [False] * 5]),
        "patient_name": np.array(["Ann", "Bob"], dtype=object),
    }
    savemat(path, {"abr": abr}, long_field_names=True, oned_as="column")
    return path, abr


def test_own_export_needs_no_options(tmp_path):
    path, abr = exported(tmp_path / "e.mat")
    first, second = read(path)
    np.testing.assert_array_equal(np.stack([first.signal_uv, second.signal_uv]), abr["signal"].astype(np.float64))
    assert (first.sampling_rate_hz, first.start_ms, first.subject) == (20000.0, 0.0, "a")
    assert first.values == {"ear": "L", "n_averages": 512, "stimulus_level_db": 80.0}
    assert second.values == {"ear": None, "n_averages": None, "stimulus_level_db": 62.5}
    np.testing.assert_array_equal(first.peaks.latency_ms, abr["peak_latency_ms"][0])
    np.testing.assert_array_equal(first.peaks.valid, abr["peak_valid"][0])
    assert second.peaks is None


@pytest.mark.parametrize("turned", [False, True])
def test_mapping_of_variables_and_struct_fields(tmp_path, turned):
    waves = RANDOM.normal(size=(3, 50))
    content = {"rig": {"fs": 25000.0, "id": "Ann"}, "w": waves.T if turned else waves, "dB": [10, 20, 30]}
    savemat(tmp_path / "m.mat", content)
    found = read(
        tmp_path / "m.mat", signal="w", sampling_rate_hz="rig.fs", stimulus_level_db="dB", unit="nV", start_ms="-1.5"
    )
    np.testing.assert_allclose([r.signal_uv for r in found], waves * 1e-3)
    assert [r.values for r in found] == [{"stimulus_level_db": level} for level in (10, 20, 30)]
    assert {(r.sampling_rate_hz, r.start_ms, r.subject) for r in found} == {(25000.0, -1.5, None)}


def test_mapping_of_a_struct_array(tmp_path):
    waves = RANDOM.normal(size=(4, 30))
    array = np.array([(wave, 10 * n) for n, wave in enumerate(waves)], dtype=[("wave", object), ("dB", object)])
    savemat(tmp_path / "s.mat", {"run": array})
    found = read(tmp_path / "s.mat", signal="run.wave", sampling_rate_hz="20000", stimulus_level_db="run.dB")
    np.testing.assert_array_equal([r.signal_uv for r in found], waves)
    assert [r.values["stimulus_level_db"] for r in found] == [0, 10, 20, 30]


@pytest.mark.parametrize(
    ("column", "content", "message"),
    [
        ("signal", np.ones((3, 50), bool), "values of type b"),
        ("stimulus_level_db", np.array([True, False, True]), "got a logical value"),
        ("stimulus_level_db", np.array([80.0, np.inf, 60.0]), "stimulus_level_db: got inf; must be -120 to 200 dB"),
        ("time_ms", np.ones(50, bool), "time_ms: got values that are not all numbers"),
        ("time_ms", np.array(list("abc"), object), "time_ms: got values that are not all numbers"),
        ("sampling_rate_hz", np.array(True), "sampling_rate_hz: got text, or nothing; must be a number"),
    ],
)
def test_values_that_are_no_numbers(tmp_path, column, content, message):
    """A logical 1 once was 1 uV, 1 dB and 1 ms."""
    variables = {"signal": RANDOM.normal(size=(3, 50)), "sampling_rate_hz": 20000.0}
    if column == "time_ms":
        del variables["sampling_rate_hz"]
    savemat(tmp_path / "m.mat", variables | {column: content})
    grid = Steps(grid=Grid(samples=40))
    assert message in read_file(tmp_path / "m.mat", ImportOptions(steps=grid)).error


def test_empty_arrays_are_missing_values_and_waveforms(tmp_path):
    waves = np.array([RANDOM.normal(size=50), np.empty(0), RANDOM.normal(size=50)], object)
    savemat(tmp_path / "m.mat", {"w": waves, "dB": np.array([80.0, np.empty((0, 0))], object)})
    options = ReadOptions(mapping={"signal": "w", "sampling_rate_hz": "20000", "stimulus_level_db": "dB"})
    found = list(FORMAT.read(tmp_path / "m.mat", options))
    np.testing.assert_array_equal([r.signal_uv for r in found], [waves[0], waves[2]])
    assert [r.values["stimulus_level_db"] for r in found] == [80.0, None]
    assert options.notes["1 empty cells of 3 hold no waveform"] == 1


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "signal"),
        ({"signal": "waves"}, "did you mean 'wave'"),
        ({"signal": "wave"}, "sampling_rate_hz"),
        ({"signal": "wave", "sampling_rate_hz": "-1"}, "positive rate"),
        ({"signal": "wave", "sampling_rate_hz": "1", "unit": "volts"}, "uV"),
        ({"signal": "wave", "sampling_rate_hz": "1", "ear": "five"}, "5 values"),
        ({"signal": "nan", "sampling_rate_hz": "1"}, "not finite"),
        ({"signal": "wave", "time_ms": "uneven"}, "uneven steps"),
    ],
)
def test_mappings_that_do_not_fit(tmp_path, mapping, message):
    content = {"wave": np.ones((2, 20)), "five": np.ones(5), "nan": np.full((2, 20), np.nan)}
    savemat(tmp_path / "m.mat", content | {"uneven": np.arange(20.0) ** 2})
    with pytest.raises(UserError, match=message):
        read(tmp_path / "m.mat", **mapping)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.99])
def test_truncated(tmp_path, share, compress):
    savemat(tmp_path / "m.mat", {"w": RANDOM.normal(size=(3, 50))}, do_compression=compress)
    content = (tmp_path / "m.mat").read_bytes()
    (tmp_path / "m.mat").write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"m\.mat"):
        read(tmp_path / "m.mat", signal="w", sampling_rate_hz="1")


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(kind: int, sizes: tuple[int, ...], content: bytes) -> bytes:
    flags, dimensions = struct.pack("<II", kind, 0), struct.pack(f"<{len(sizes)}i", *sizes)
    return element(14, element(6, flags) + element(5, dimensions) + element(1, b"w") + content)


def nested(levels: int) -> bytes:
    content = matrix(6, (1, 1), element(9, struct.pack("<d", 1)))
    for _ in range(levels):
        content = matrix(1, (1, 1), content)
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (nested(20), "levels of cells"),
        (matrix(6, (2**30, 2**30), element(9, bytes(8))), "an array of"),
        (matrix(1, (2**30, 1), b""), "0 arrays where"),
        (element(15, zlib.compress(element(14, bytes(3 * 2**20)))), "once expanded"),
        (element(15, b"no zlib data"), "cannot be expanded"),
        (struct.pack("<II", 14, 2**31), "an element of"),
        (element(15, zlib.compress(element(14, bytes(1000)))[:-5]), "without an end"),
        (matrix(4, (1, 1), element(9, bytes(8))), "text of type 9"),
        (matrix(6, (1, 1), element(99, bytes(8))), "numbers of type 99"),
        (matrix(2, (1, 1), element(5, struct.pack("<i", 0)) + element(1, b"")), "field names"),
    ],
    ids=["depth", "numbers", "cells", "expansion", "zlib", "size", "end", "text", "type", "fields"],
)
def test_hostile_version_5(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr(matlab_version_5, "MAX_BYTES", 2 * 2**20)
    (tmp_path / "h.mat").write_bytes(HEADER + content)
    with pytest.raises(UserError, match=message):
        read(tmp_path / "h.mat")


def test_100_000_nested_cells(tmp_path):
    """scipy's reader crashes the process here."""
    parts, size = [], len(nested(0)) - 8
    for _ in range(100_000):
        held = element(6, struct.pack("<II", 1, 0)) + element(5, struct.pack("<2i", 1, 1)) + element(1, b"")
        size += 8 + len(held)
        parts.append(struct.pack("<II", 14, size) + held)
    (tmp_path / "deep.mat").write_bytes(HEADER + b"".join(reversed(parts)) + nested(0))
    with pytest.raises(UserError, match="levels of cells"):
        read(tmp_path / "deep.mat")


@pytest.mark.parametrize("compress", [False, True])
def test_values_are_those_that_scipy_wrote(tmp_path, compress):
    content = {
        "f8": RANDOM.normal(size=(3, 4)), "f4": np.float32([[1.5, 2]]), "i2": np.int16([[-1], [300]]),
        "u8": np.uint64([[2**63]]), "cube": np.arange(24.0).reshape(2, 3, 4), "yes": np.array([[True, False]]),
        "none": np.empty((0, 0)), "text": "Grüße", "lines": np.array(["ab", "cd"]), "complex": np.array([[1j]]),
        "cell": np.array([[1, "a"], [2.5, "b"]], dtype=object), "struct": {"x": 1, "y": {"z": "deep"}},
    }  # fmt: skip
    savemat(tmp_path / "v.mat", content, do_compression=compress)
    got = matlab_version_5.read_version_5(tmp_path / "v.mat")
    assert got.keys() == content.keys()
    for name in ("f8", "f4", "i2", "u8", "cube", "yes", "none"):
        np.testing.assert_array_equal(got[name], content[name])
        assert got[name].dtype == content[name].dtype or name == "none"
    assert (got["text"], got["lines"], got["complex"]) == ("Grüße", ["ab", "cd"], None)
    assert [np.ravel(one).tolist() if not isinstance(one, str) else one for one in got["cell"]] == [
        [1],
        [2.5],
        "a",
        "b",
    ]
    assert got["struct"]["x"].item() == 1
    assert got["struct"]["y"] == {"z": "deep"}


@pytest.mark.parametrize("seed", range(200))
def test_damaged_bytes(tmp_path_factory, seed):
    """With any byte wrong: a UserError or waveforms, never anything else."""
    folder = tmp_path_factory.getbasetemp()
    path, _ = exported(folder / "damaged.mat")
    random, content = np.random.default_rng(seed), bytearray(path.read_bytes())
    for at in random.integers(128, len(content), 3):
        content[at] = random.integers(256)
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        read(path)


class TestVersion73:
    """Files in the layout that MATLAB writes: dimensions reversed, structs as groups, cells as references."""

    @pytest.fixture
    def h5py(self):
        return pytest.importorskip("h5py")

    @pytest.fixture
    def make(self, h5py, tmp_path):
        def make(fill) -> Path:
            path = tmp_path / "v73.mat"
            with h5py.File(path, "w", userblock_size=512) as file:
                fill(file)
            with path.open("r+b") as file:
                file.write(b"MATLAB 7.3 MAT-file".ljust(124) + struct.pack("<H", 0x200) + b"IM")
            return path

        return make

    def test_variables(self, make):
        waves = RANDOM.normal(size=(3, 50))

        def fill(file):
            file["w"] = waves.T
            file["rig/fs"] = np.array([[25000.0]])
            file["dB"] = np.array([[10.0], [20.0], [30.0]]).T
            file["ear"] = np.array([[ord("L")]], dtype=np.uint16)
            file["ear"].attrs["MATLAB_class"] = np.bytes_("char")

        path = make(fill)
        assert FORMAT.recognises(path, path.read_bytes()[:512])
        found = read(path, signal="w", sampling_rate_hz="rig.fs", stimulus_level_db="dB", ear="ear")
        np.testing.assert_array_equal([r.signal_uv for r in found], waves)
        assert [r.values for r in found] == [{"stimulus_level_db": level, "ear": "L"} for level in (10.0, 20.0, 30.0)]

    def test_a_logical_value_is_no_number(self, make):
        def fill(file):
            file["w"] = RANDOM.normal(size=(250, 3))
            file["dB"] = np.array([[1], [0], [1]], np.uint8).T
            file["dB"].attrs["MATLAB_class"] = np.bytes_("logical")

        mapping = {"signal": "w", "sampling_rate_hz": "25000", "stimulus_level_db": "dB"}
        assert "stimulus_level_db: got a logical value" in read_file(make(fill), ImportOptions(mapping=mapping)).error

    def test_the_digest_as_version_7_3(self, make, h5py, digest):
        levels = loadmat(digest)["ABR"].ravel()

        def fill(file):
            file["time"] = loadmat(digest)["time"].T
            for name in ("intensity", "sweeps", "sampP", "p"):
                references = []
                for number, level in enumerate(levels):
                    file[f"#refs#/{name}{number}"] = level[name].T
                    references.append(file[f"#refs#/{name}{number}"].ref)
                file["ABR/" + name] = np.array([[r] for r in references], dtype=h5py.ref_dtype)

        for mine, same in zip(read(make(fill)), read(digest), strict=True):
            np.testing.assert_array_equal(mine.signal_uv, same.signal_uv)
            assert mine.values == same.values

    def test_data_in_other_files_are_refused(self, make, h5py, tmp_path):
        with h5py.File(tmp_path / "other.h5", "w") as other:
            other["secret"] = np.ones((5, 2))

        def link(file):
            file["w"] = h5py.ExternalLink("other.h5", "/secret")

        def external(file):
            file.create_dataset("w", (5, 2), "f8", external=[(str(tmp_path / "other.h5"), 0, 80)])

        def virtual(file):
            layout = h5py.VirtualLayout((5, 2), "f8")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "secret", (5, 2))
            file.create_virtual_dataset("w", layout)

        for fill in (link, external, virtual):
            with pytest.raises(UserError, match="in the file itself"):
                read(make(fill), signal="w", sampling_rate_hz="1")

    def test_hostile(self, make, h5py):
        def huge(file):
            file.create_dataset("w", (2**20, 2**20), "f8", chunks=(1, 2**10))

        def circle(file):
            cell = file.create_dataset("w", (1, 1), h5py.ref_dtype)
            cell[0, 0] = cell.ref

        for fill, message in ((huge, "split the file"), (circle, "levels")):
            with pytest.raises(UserError, match=message):
                read(make(fill), signal="w", sampling_rate_hz="1")

    @pytest.mark.parametrize("length", [100, 520, 1500])
    def test_truncated(self, make, length):
        path = make(lambda file: file.create_dataset("w", data=RANDOM.normal(size=(50, 3))))
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(UserError, match="cannot be read"):
            read(path, signal="w", sampling_rate_hz="1")

    def test_without_h5py(self, make, monkeypatch):
        path = make(lambda file: None)
        monkeypatch.setitem(sys.modules, "h5py", None)
        with pytest.raises(UserError, match=r"pip install --editable '\.\[formats\]'"):
            read(path)


def test_other_files_are_not_recognised(recordings):
    raw = [*(recordings / "raw").iterdir()]
    assert raw
    for path in raw:
        assert FORMAT.recognises(path, path.read_bytes()[:4096]) == (path.suffix == ".mat")
