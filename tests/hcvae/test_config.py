"""What the model's options refuse, and what importing the configuration loads."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from hcvae.config import ModelConfig
from hcvae.validation import explain


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"intermediate_levels": 3}, "intermediate_levels: input should be less than or equal to 2, but got 3"),
        ({"intermediate_latent_dim": 0}, "intermediate_latent_dim: input should be greater than or equal to 1"),
        ({"local_segments": 0}, "local_segments: input should be greater than or equal to 1, but got 0"),
        (
            {"local_segments": 5},
            "local_latent_dim must be a multiple of local_segments, but got "
            "(local_latent_dim=32, local_segments=5); local_latent_dim=35 would be right",
        ),
        *(
            (
                {"model_type": "standard", name: value},
                f"{name} is for hierarchical models: with model_type='standard' it must be {plain}, but got {value}",
            )
            for name, value, plain in (
                ("intermediate_levels", 1, 0),
                ("attention", True, False),
                ("local_segments", 2, 1),
            )
        ),
    ],
)
def test_inconsistent_options_are_refused_with_what_would_be_right(fields, message):
    with pytest.raises(ValidationError) as error:
        ModelConfig.model_validate(fields)
    assert explain(error.value, ModelConfig).startswith(message)


def test_options_can_be_combined():
    ModelConfig(intermediate_levels=2, attention=True, local_segments=4)
    ModelConfig(local_segments=5, local_latent_dim=35)
    ModelConfig(model_type="standard", intermediate_levels=0, attention=False, local_segments=1)


def test_the_configuration_loads_neither_torch_nor_pyarrow():
    program = "import sys, hcvae.config; print(sorted({'numpy', 'pyarrow', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
