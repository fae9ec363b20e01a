"""What works on this machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path

# The extras of pyproject.toml, each with the module that tells whether it is there.
EXTRAS = {
    "rlds": "tensorflow",
    "gcs": "gcsfs",
    "diffusers": "diffusers",
    "transformers": "transformers",
    "slurm": "submitit",
    "ray": "ray",
    "menagerie": "mujoco_menagerie",
    "docs": "pdoc",
    "dev": "pytest",
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    name: str
    ok: bool
    text: str
    """What was found."""
    remedy: str = ""
    """The command or action that mends it, when not ok."""
    core: bool = True
    """Whether the core needs it."""

    def __str__(self) -> str:
        state = "ok     " if self.ok else "missing" if not self.core else "BROKEN "
        remedy = f"; {self.remedy}" if self.remedy and not self.ok else ""
        return f"{state}  {self.name:16}  {self.text}{remedy}"


def diagnose() -> Iterator[Finding]:
    """Look at everything in turn; what raises is a finding too, never an exception."""
    checks: tuple[tuple[str, Callable[[], Finding], str], ...] = (
        ("python", _python, "use Python 3.10 to 3.13"),
        ("torch", _torch, 'run "pip install torch==2.13.0"'),
        ("drawing", _drawing, "run: sudo apt-get install -y libegl1 libgl1-mesa-dri libosmesa6"),
        ("video", _video, 'run "pip install --force-reinstall av"'),
    )
    for name, check, remedy in checks:
        try:
            yield check()
        except Exception as error:
            # Whatever goes wrong in a library here is what the user came to be told.
            reason = " ".join(str(error).split()) or type(error).__name__
            yield Finding(name, False, reason, "" if remedy in reason else remedy)
    yield from _weights()
    for extra, module in EXTRAS.items():
        found = importlib.util.find_spec(module) is not None
        remedy = f"run: pip install 'selfflow_robotics[{extra}]'"
        text = f"{module} is installed" if found else f"{module} is not installed"
        yield Finding(f"extra [{extra}]", found, text, remedy, core=False)


def _python() -> Finding:
    here = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    fits = (3, 10) <= sys.version_info[:2] <= (3, 13)
    return Finding("python", fits, here, "use Python 3.10 to 3.13")


def _torch() -> Finding:
    import torch

    device = "cpu"
    if torch.cuda.is_available():
        device = f"cuda ({torch.cuda.get_device_name()})"
    elif torch.backends.mps.is_available():
        device = "mps"
    ones = torch.ones(2, 2, device=device.split()[0])
    works = bool((ones @ ones == 2).all())
    text = f"{torch.__version__}, device {device}, {torch.get_num_threads()} threads"
    return Finding("torch", works, text, "reinstall torch")


def _drawing() -> Finding:
    from selfflow_robotics.machine.gl import choose_gl

    try:
        library = choose_gl()
    except RuntimeError as error:
        if "MUJOCO_GL" not in os.environ:
            raise
        return Finding("drawing", False, str(error), "unset MUJOCO_GL")
    import mujoco

    model = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><light pos="0 0 2"/>'
        '<geom type="sphere" size=".2" rgba="1 0 0 1"/></worldbody></mujoco>'
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, height=48, width=64) as renderer:
        renderer.update_scene(data)
        image = renderer.render()
    red = bool((image[..., 0].astype(int) - image[..., 2]).max() > 50)
    text = f"MuJoCo {mujoco.__version__} through {library}"
    if not red:
        return Finding("drawing", False, f"{text} draws an empty frame", "set MUJOCO_GL=osmesa")
    return Finding("drawing", True, f"{text}, a frame was drawn")


def _video() -> Finding:
    import av
    import numpy as np

    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(3))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for value in (0, 128, 255):
            pixels = np.full((48, 64, 3), value, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as written:
        count = sum(1 for _ in written.decode(video=0))
    text = f"PyAV {importlib.metadata.version('av')}, H.264 written and read"
    return Finding("video", count == 3, text, 'run "pip install --force-reinstall av"')


def _weights() -> Iterator[Finding]:
    folder = Path(__file__).parents[1] / "weights"
    models = sorted(entry for entry in folder.glob("*") if entry.is_dir())
    remedy = "reinstall selfflow_robotics, or check the files out again"
    if not models:
        yield Finding("weights", False, "no model is shipped with this copy", remedy)
    for model in models:
        wrong = damaged_files(model)
        text = "intact" if not wrong else f"damaged or absent: {', '.join(wrong)}"
        yield Finding(model.name, not wrong, text, remedy)


def damaged_files(model: Path) -> list[str]:
    """Names of the files of a shipped model's folder that do not match its list `SHA256SUMS`.

    That holds a line `<sha256>  <file name>` a file, as the program sha256sum writes it.
    """
    listing = model / "SHA256SUMS"
    if not listing.is_file():
        return ["SHA256SUMS"]
    wrong = []
    for line in listing.read_text(encoding="utf-8").splitlines():
        digest, name = line.split(maxsplit=1)
        file = model / name.lstrip("*")
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            wrong.append(name)
    return wrong
