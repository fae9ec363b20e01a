"""What a good future is: costs (B, K) of imagined rollouts, lower is better.

Any function ``(context, rollout) -> (B, K)`` is an objective. A new one that users name is a file
here and a line in one of these tables.
"""

_HERE = "selfflow_robotics.planning.objectives"

OBJECTIVES = {"progress": f"{_HERE}.progress:Progress", "critic": f"{_HERE}.critic:StepsLeft"}
"""Of the instruction: classes made with ``(world_model, discount=...)``."""

GOALS = {
    "critic": f"{_HERE}.critic:StepsToGoal",
    "steps": f"{_HERE}.goal_image:GoalImage",
    "features": f"{_HERE}.goal_distance:GoalFeatures",
    "latents": f"{_HERE}.goal_distance:GoalLatents",
}
"""Of a picture to reach: classes made with ``(world_model, image, discount=...)``."""
