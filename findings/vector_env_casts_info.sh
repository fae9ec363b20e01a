#!/usr/bin/env bash
# Gymnasium 1.4.0, numpy 2.4.6 (CPython 3.11), seen 2026-11-27: a vector environment keeps an info
# entry as an array of the type of the first environment that reports it, and casts the others to it
# without a word. Beside an environment that reports the integer 1, a success rate of 0.7 becomes 0;
# beside one that reports False, the text "False" and the number 2.0 become True. In another order of
# the same environments the values stay. What an environment reports therefore has to be reduced to
# one type before environments are put side by side.
#
# Here: selfflow_robotics/evaluation/rows.py does so; tests/evaluation/test_rows.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    gymnasium==1.4.0 numpy==2.4.6

cat >"$folder/show.py" <<'PYTHON'
import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv


class Reports(gymnasium.Env):
    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, success):
        self.success = success

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 0.0, False, False, {"success": self.success}


for pair in ((1, 0.7), (0.7, 1), (False, "False"), (False, 2.0)):
    envs = SyncVectorEnv([lambda value=value: Reports(value) for value in pair])
    envs.reset()
    info = envs.step(np.zeros((2, 1), np.float32))[4]
    print(pair, "->", info["success"].tolist())
PYTHON
found=$("$folder/venv/bin/python" "$folder/show.py")
echo "$found"
diff <(echo "$found") - <<'SEEN'
(1, 0.7) -> [1, 0]
(0.7, 1) -> [0.7, 1.0]
(False, 'False') -> [False, True]
(False, 2.0) -> [False, True]
SEEN
