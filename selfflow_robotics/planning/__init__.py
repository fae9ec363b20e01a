"""Solvers, and what a good future is to them."""

from selfflow_robotics.planning.judge import Judge as Judge
from selfflow_robotics.planning.objectives import ActionMagnitude as ActionMagnitude
from selfflow_robotics.planning.objectives import ActionSmoothness as ActionSmoothness
from selfflow_robotics.planning.objectives import Constraint as Constraint
from selfflow_robotics.planning.objectives import GoalFeatures as GoalFeatures
from selfflow_robotics.planning.objectives import GoalImage as GoalImage
from selfflow_robotics.planning.objectives import GoalLatents as GoalLatents
from selfflow_robotics.planning.objectives import Progress as Progress
from selfflow_robotics.planning.objectives import Readout as Readout
from selfflow_robotics.planning.objectives import StateOf as StateOf
from selfflow_robotics.planning.objectives import WeightedSum as WeightedSum
from selfflow_robotics.planning.plan import Plan as Plan
from selfflow_robotics.planning.protocol import Context as Context
from selfflow_robotics.planning.protocol import Dynamics as Dynamics
from selfflow_robotics.planning.protocol import Objective as Objective
from selfflow_robotics.planning.protocol import Propose as Propose
from selfflow_robotics.planning.protocol import Refine as Refine
from selfflow_robotics.planning.protocol import RowGenerators as RowGenerators
from selfflow_robotics.planning.protocol import Solver as Solver
from selfflow_robotics.planning.solvers.adam import Adam as Adam
from selfflow_robotics.planning.solvers.cem import CEM as CEM
from selfflow_robotics.planning.solvers.icem import ICEM as ICEM
from selfflow_robotics.planning.solvers.mppi import MPPI as MPPI
from selfflow_robotics.planning.solvers.policy_guided import PolicyGuided as PolicyGuided
from selfflow_robotics.planning.solvers.predictive import PredictiveSampling as PredictiveSampling
