"""What a good future is: costs (B, K) of imagined rollouts, lower is better.

Any function ``(context, rollout) -> (B, K)`` is an objective; those here are of general use.
"""

from .action_prices import ActionMagnitude as ActionMagnitude
from .action_prices import ActionSmoothness as ActionSmoothness
from .constraint import Constraint as Constraint
from .goal_distance import GoalFeatures as GoalFeatures
from .goal_distance import GoalLatents as GoalLatents
from .goal_image import GoalImage as GoalImage
from .progress import Progress as Progress
from .readout import Readout as Readout
from .readout import StateOf as StateOf
from .weighted_sum import WeightedSum as WeightedSum
