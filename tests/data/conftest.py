"""Lets these tests import the modules beside them, and lets a busy machine take its time."""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
