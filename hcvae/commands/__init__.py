"""The commands of `hcvae`, one module each."""

MODULES = {
    "simulate": "hcvae.commands.simulate",
    "import": "hcvae.commands.import_recordings",
    "inspect": "hcvae.commands.inspect",
    "generate": "hcvae.commands.generate",
    "explore": "hcvae.commands.explore",
    "export": "hcvae.commands.export",
    "evaluate": "hcvae.commands.evaluate",
    "diagnose": "hcvae.commands.diagnose",
}
"""The module of each command; its `run` takes the arguments after the command and returns the exit code."""
