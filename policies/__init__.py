"""Whatever turns observations into actions."""

from selfflow_robotics.envs.mapping import EnvMapping as EnvMapping
from selfflow_robotics.envs.mapping import Observations as Observations
from selfflow_robotics.envs.mapping import observe_env as observe_env

from .base import Policy as Policy
from .joint import JointPolicy as JointPolicy
from .planner import PlannerPolicy as PlannerPolicy
from .prior import PriorPolicy as PriorPolicy
from .random import RandomPolicy as RandomPolicy
from .zero import ZeroPolicy as ZeroPolicy
