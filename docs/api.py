"""Writes the API pages, from docstrings: `make docs`, or `python docs/api.py FOLDER`."""

from __future__ import annotations

import pkgutil
import sys
import warnings
from pathlib import Path

import selfflow_robotics
from selfflow_robotics.machine.extras import require

ELSEWHERE = {
    "envs",
    "envs.base",
    "envs.mapping",
    "policies",
}  # in a checkout they lie beside the package
LEFT_OUT = {"cli", "configs"}  # what `selfflow COMMAND --help` says


def write(folder: Path) -> None:
    """A page a module of the package, and a search over all, under `folder`/index.html."""
    require("pdoc", "docs")
    import pdoc.render

    # Fields that a dataclass inherits are looked for in the module of the class alone.
    warnings.filterwarnings("ignore", message="Error parsing type annotation")
    for name in selfflow_robotics.__all__:  # pdoc finds none that are imported on first use
        setattr(selfflow_robotics, name, getattr(selfflow_robotics, name))
    found = {module.name for module in pkgutil.iter_modules(selfflow_robotics.__path__)}
    modules = [f"selfflow_robotics.{name}" for name in sorted((found | ELSEWHERE) - LEFT_OUT)]
    pdoc.render.configure(docformat="google", show_source=False)
    pdoc.pdoc("selfflow_robotics", *modules, output_directory=folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
