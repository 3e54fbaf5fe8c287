"""What to type after a job."""

from pathlib import Path

from hcvae.bundle import load
from hcvae.data.preprocessing import Value


def generate_command(bundle: Path, name: str) -> str:
    """A command that generates with the model in `bundle`, where it is called `name`."""
    preprocessing = load(bundle).preprocessing
    group, values = next(iter(preprocessing.typical.items()))
    group_by, first = preprocessing.signal.group_by, preprocessing.static.columns[0].name
    conditions = ({group_by: group} if group_by else {}) | {first: values[first]}
    given = " ".join(f"--condition {column}={_text(value)}" for column, value in conditions.items())
    return f"hcvae generate {name} {given} --out generated.parquet"


def _text(value: Value) -> str:
    if value is None:
        return "null"
    return f"{value:g}" if isinstance(value, float) else value
