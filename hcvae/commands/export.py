"""`hcvae export`: a model bundle for other runtimes."""

from collections.abc import Sequence
from pathlib import Path

from pydantic_settings import CliPositionalArg
from rich.console import Console

from hcvae import command_line
from hcvae.outputs import check_output_file
from hcvae.terminal import print_line


class Export(command_line.Command):
    """Write a model bundle as ONNX files that run without hcvae and PyTorch: encoder, prior and decoder, in uV and ms.

    examples:
      hcvae export results/model --onnx results/model.onnx
    """

    bundle: CliPositionalArg[str]
    """The model bundle, a folder."""
    onnx: str
    """Where to write: `--onnx model.onnx` writes model-encoder.onnx, model-prior.onnx and model-decoder.onnx."""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    command = command_line.parse(Export, arguments)
    from hcvae.onnx_export import check_path, export

    check_path(command.onnx)
    check_output_file("--onnx", command.onnx, [command.bundle])
    from hcvae.bundle import load

    differences = export(load(command.bundle), Path(command.onnx))
    console = Console()
    for path, difference in differences.items():
        line = f"{path}: differs from PyTorch by at most {difference:.1g} of the largest value"
        print_line(console, line)
    return 0
