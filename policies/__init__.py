"""Whatever turns observations into actions."""

from .base import EnvMapping as EnvMapping
from .base import Observations as Observations
from .base import Policy as Policy
from .base import observe_env as observe_env
from .joint import JointPolicy as JointPolicy
from .planner import PlannerPolicy as PlannerPolicy
from .prior import PriorPolicy as PriorPolicy
from .random import RandomPolicy as RandomPolicy
from .zero import ZeroPolicy as ZeroPolicy
