"""Element-wise operations on CPU with glibc's own thresholds and with `keep_memory`.

    python benchmarks/allocator.py [--json]

Two fresh processes, one thread each, the same work: y = x * x + x on (8448, 1536) fp32, the size of
a training step's modulation. Prints bytes moved a second and their ratio.
"""

from __future__ import annotations

import json
import subprocess
import sys

WORK = """
import sys, time, torch
from selfflow_robotics.machine.allocator import keep_memory
torch.set_num_threads(1)
if sys.argv[1] == "kept":
    assert keep_memory()
x = torch.randn(8448, 1536)
for _ in range(3):
    x * x + x
began = time.perf_counter()
for _ in range(30):
    x * x + x
print(30 * 5 * x.numel() * 4 / (time.perf_counter() - began) / 1e9)
"""


def measure(mode: str) -> float:
    """GB moved a second in a fresh process."""
    command = [sys.executable, "-c", WORK, mode]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Measure both and print."""
    default, kept = measure("default"), measure("kept")
    result = {"default_GB_s": default, "kept_GB_s": kept, "ratio": kept / default}
    if "--json" in sys.argv:
        print(json.dumps(result))
    else:
        print(f"default {default:.1f} GB/s, kept {kept:.1f} GB/s: {kept / default:.2f} times")


if __name__ == "__main__":
    main()
