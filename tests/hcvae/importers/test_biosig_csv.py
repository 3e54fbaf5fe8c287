"""The reader of BioSig's CSV, against files made here with the column names of two public exports (RZ and RP)."""

from pathlib import Path

import numpy as np
import pytest

from hcvae.errors import UserError
from hcvae.importers.biosig_csv import FORMAT
from hcvae.importers.recording import ReadOptions
from hcvae.importers.registry import recognise

CURSORS = ",".join(f"T{n}(ms),V{n}(uv)" for n in range(1, 11))
UNUSED = "..........()"


def export(path: Path, *, rp=False, samples=244, title="session\n\n", data=None) -> Path:
    """Two records of 90 and 80 dB; sample k of record r is (k + r) / 1000 uV."""
    stimulus = ["Polarity()" if rp else "Freq(Hz)", "Level(dB)", *[UNUSED] * 8]
    head = ["SGI,Rec No.,Gain,No. Avgs,No. Arts,Time,Chan,Sub. ID,Sub. Ref-1,Sub. Ref-2,Sub. Memo", "", *stimulus, ""]
    head += [CURSORS, "", "Samp. Per.,No. Samps.,O.S. Time,Data(uv)...", *map(str, range(samples))]
    lines = [",".join(head) + ", "]
    for r, level in enumerate((90, 80)):
        cells = [f"{r + 1},{r},20,512,{7 * r},1695417988,1,ann,A1,3 months", "", "", "1.0" if rp else "8000.000000"]
        cells += [f"{level}.000000", *["0.000000"] * 8, "", *["-1.000,0.000"] * 10, "", f"40.960,{samples},0.000", ""]
        cells += data or [f"{(k + r) / 1000:.3f}" for k in range(samples)]
        lines.append(",".join(cells) + ", ")
    path.write_text(title + "\n".join(lines) + "\n")
    return path


def read(path, **mapping):
    return list(FORMAT.read(path, ReadOptions(mapping)))


def test_records_of_rz(tmp_path):
    path = export(tmp_path / "x.csv")
    assert recognise(path).name == "biosig-csv"
    first, second = read(path)
    np.testing.assert_allclose(second.signal_uv, (np.arange(244) + 1) / 1000, atol=1e-12)
    assert (first.start_ms, first.subject, first.sampling_rate_hz) == (0, "ann", pytest.approx(24414.0625))
    assert second.values == {
        "stimulus_type": "tone_pip", "stimulus_frequency_hz": 8000, "stimulus_level_db": 80, "n_averages": 512,
        "n_artifacts": 7, "recording_index": 1, "native_rate_hz": pytest.approx(24414.0625),
    }  # fmt: skip


def test_clicks_of_rp_and_a_start_time_that_the_file_lacks(tmp_path):
    first, _ = read(export(tmp_path / "x.csv", rp=True, samples=488, title=""), start_ms="-10")
    assert (first.values["stimulus_type"], first.values["stimulus_frequency_hz"]) == ("click", None)
    assert (first.start_ms, len(first.signal_uv)) == (-10, 488)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("No. Arts,Time", "No. Arts,T", None),
        ("Samp. Per.", "Period", "no column Samp. Per."),
        (",244,0.000", ",243,0.000", "line 4: got 244 samples"),
        (",0.003,", ",ann,", "line 4: got no number as a sample"),
        (",40.960,", ",0,", "sampling period of 0 us"),
        (",20,512,", ",20,many,", "line 4: got no number as No. Avgs"),
        ("3 months", '"3 months', "a line that is not CSV"),
    ],
)
def test_errors_name_the_damaged_line(tmp_path, old, new, message):
    path = export(tmp_path / "x.csv")
    path.write_text(path.read_text().replace(old, new))
    if message is None:
        assert len(read(path)) == 2
        return
    with pytest.raises(UserError, match=message) as error:
        read(path)
    assert "ann" not in str(error.value).replace(str(tmp_path), "").replace("channel", "")
