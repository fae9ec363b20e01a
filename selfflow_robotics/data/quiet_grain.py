"""grain, imported without its warning that there is no jax, which only its profiler would use."""

from absl import logging

_verbosity = logging.get_verbosity()
logging.set_verbosity(logging.ERROR)
try:
    import grain
finally:
    logging.set_verbosity(_verbosity)

__all__ = ["grain"]
