import subprocess
import sys

import pytest

from hcvae import cli
from hcvae.errors import UserError


def test_the_missing_extra_is_named(trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(UserError, match=r"`pip install --editable '\.\[explore\]'`"):
        cli.run(["explore", str(trained)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}"], "not a model bundle"),
        (["{tmp}", "--port=70000"], "port: input should be less than or equal to 65535, but got '70000'"),
        (["{bundle}", "--data=missing.parquet"], r"missing\.parquet: no such file"),
    ],
)
def test_bad_input_is_refused_by_explore(trained, tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        cli.run(["explore", *(argument.format(tmp=tmp_path, bundle=trained) for argument in arguments)])


def test_help_loads_neither_torch_nor_flask():
    code = (
        "import sys; from hcvae import cli\n"
        "try: cli.run(['explore', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'flask', 'plotly'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"
    assert "hcvae explore results/model" in said.split("examples:")[1]
