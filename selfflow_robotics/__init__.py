"""Self-Flow world models for robots: train on RT-1, imagine, plan.

The names below are imported on first use, so that `import selfflow_robotics` is quick.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # typing's own takes most of the time of this import
if TYPE_CHECKING:
    from typing import Any

    from selfflow_robotics.planning import CEM, GoalImage, Progress
    from selfflow_robotics.world_model.world_model import WorldModel

__version__ = "0.1.0"
__all__ = ["CEM", "GoalImage", "Progress", "WorldModel", "__version__"]

_HOME = {
    "CEM": "selfflow_robotics.planning",
    "GoalImage": "selfflow_robotics.planning",
    "Progress": "selfflow_robotics.planning",
    "WorldModel": "selfflow_robotics.world_model.world_model",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
