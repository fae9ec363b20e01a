"""Keep memory that tensors gave back, instead of returning it to the system page by page.

glibc maps every large block anew and the system zeroes its pages at first touch: on CPU that made
element-wise operations three times slower (`benchmarks/allocator.py`).
"""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def keep_memory() -> bool:
    """Raise glibc's thresholds for this process; False where the C library is another."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    largest = 2**31 - 1
    set_all = [
        mallopt(_M_MMAP_THRESHOLD, 2**30),
        mallopt(_M_TRIM_THRESHOLD, largest),
        mallopt(_M_TOP_PAD, 2**28),
    ]
    return all(set_all)
