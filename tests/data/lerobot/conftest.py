"""Lets these tests import the modules beside them and those of RT-1's material."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
