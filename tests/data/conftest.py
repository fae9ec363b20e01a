"""Lets these tests import the modules beside them, which hold their material."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
