#!/usr/bin/env bash
# joblib 1.6.0 (CPython 3.11, Linux), seen 2026-11-28: inside the processes that Parallel starts by
# default, multiprocessing's start method is called "loky", and a process started there by the
# standard library's spawn dies at once: it is told to use "loky" itself, which it does not know. So
# a job that has spawned workers of its own fails when a launcher runs it under joblib, and nowhere
# else. Setting the start method back to "spawn" at the job's beginning mends it.
#
# Here: selfflow_robotics/cli/sweep.py does so; tests/cli/test_sweep.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check joblib==1.6.0

cat >"$folder/show.py" <<'PYTHON'
import multiprocessing

from joblib import Parallel, delayed


def start(mend):
    if mend:
        multiprocessing.set_start_method("spawn", force=True)
    method = multiprocessing.get_start_method()
    process = multiprocessing.get_context("spawn").Process(target=len, args=("",))
    process.start()
    process.join()
    return f"start method {method}, a spawned process ends with {process.exitcode}"


if __name__ == "__main__":
    for mend in (False, True):
        print(f"set back: {mend};", Parallel(n_jobs=2)([delayed(start)(mend)] * 2)[0])
PYTHON
found=$("$folder/venv/bin/python" "$folder/show.py" 2>"$folder/said")
echo "$found"
grep -m 1 "cannot find context" "$folder/said"
diff <(echo "$found") - <<'SEEN'
set back: False; start method loky, a spawned process ends with 1
set back: True; start method spawn, a spawned process ends with 0
SEEN
