"""Parts of a latent cache encoded on many machines by Ray, a task a part.

The machines share the folder that is written, and have this package installed. Parts do not depend
on each other and appear whole, so a task that is lost is simply run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...machine.extras import require
from .cache import Encoding, Spread, bar_of, encode_parts

_RETRIES = 3


def spread_over(address: str, device: str = "cpu") -> Spread:
    """Encode parts on a Ray cluster.

    Args:
        address: "local" starts Ray on this machine; else the address of a cluster, or "auto".
        device: of each task; one that begins with "cuda" takes a GPU.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    ray = require("ray", "ray")

    def spread(encoding: Encoding, folder: Path, numbers: Sequence[int]) -> Iterator[int]:
        began_here = not ray.is_initialized()
        if began_here:
            ray.init(None if address == "local" else address, log_to_driver=False)
        try:
            task = ray.remote(num_cpus=1, num_gpus=int(device.startswith("cuda")))(_encode)
            task = task.options(max_retries=_RETRIES)
            shared = ray.put(encoding)
            waiting = [task.remote(shared, str(folder.resolve()), i, device) for i in numbers]
            with bar_of(encoding, numbers) as bar:
                while waiting:
                    (done,), waiting = ray.wait(waiting, num_returns=1)
                    number = ray.get(done)
                    bar.update(len(encoding.part(number)))
                    yield number
        finally:
            if began_here:
                ray.shutdown()

    return spread


def _encode(encoding: Encoding, folder: str, number: int, device: str) -> int:
    encoding.tokenizer.to(device)
    return next(encode_parts(encoding, Path(folder), [number], quiet=True))
