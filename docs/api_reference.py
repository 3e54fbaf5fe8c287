"""Build the API reference of hcvae from its docstrings: `make docs`. Any warning is an error."""

import pkgutil
import sys
import warnings
from pathlib import Path

import matplotlib.font_manager  # noqa: F401  Its first import runs fc-list, which pdoc forbids while it imports.
import pdoc

import hcvae


def main(out: Path) -> None:
    """Write one HTML page for each public module of hcvae into the folder `out`."""
    warnings.simplefilter("error", UserWarning)
    # Every module is named below, as a package with __all__ would hide its own; pdoc finds the others' twice.
    warnings.filterwarnings("ignore", "The module specification .* has already been added", UserWarning)
    for name in hcvae.__all__:  # pdoc reads a module's dictionary, where lazy names are not yet
        setattr(hcvae, name, getattr(hcvae, name))
    pdoc.render.configure(docformat="google")
    modules = sorted(module.name for module in pkgutil.walk_packages(hcvae.__path__, "hcvae."))
    pdoc.pdoc("hcvae", *modules, output_directory=out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
