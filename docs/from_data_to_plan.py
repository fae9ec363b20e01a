# %% [markdown]
# From data to a plan without a command line, by the functions that the commands call. Its numbers
# are tiny, so that it runs in a minute; leave them out, and they are those to train with.

# %% Episodes of a task, half of them random play, in RT-1's form
from pathlib import Path

import numpy as np

from selfflow_robotics import CEM, Progress, WorldModel
from selfflow_robotics.collecting.collect import collect
from selfflow_robotics.collecting.workers import Playing
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.tokenizers.autoencoder import AutoencoderConfig
from selfflow_robotics.training.config import ModelConfig, PriorTraining, TrainerConfig
from selfflow_robotics.training.finetune import finetune
from selfflow_robotics.training.tokenizer import train_tokenizer

size = (32, 48)  # height, width
playing = Playing(image_size=size, random_steps=8)
collect(Path("data"), ["CloseDrawer"], 4, random=0.5, playing=playing, workers=0)
episodes = open_dataset("data")  # any RLDS or LeRobot data set, where you have one

# %% What makes latents of frames, and frames of latents
sizes = AutoencoderConfig(channels=4, widths=(8, 8, 8))
tokenizer = train_tokenizer(Path("tokenizer"), [episodes], size, sizes=sizes, steps=5, batch_size=4)

# %% A world model, with its policy prior
finetune(
    Path("world"),
    [episodes],
    tokenizer=tokenizer,
    model=ModelConfig("tiny", patch=1),
    trainer=TrainerConfig(steps=5, batch_size=4, frames=3),
    prior=PriorTraining(steps=5),
)

# %% A plan after the first frame of an episode
world_model = WorldModel.from_pretrained("world")
seen = episodes[0]
assert seen.states is not None
context = world_model.observe(
    seen.images[None, :1],  # (B, S, height, width, 3)
    np.zeros((1, 0, 7), np.float32),  # no actions before it
    seen.instructions[0],
    seen.states[None, :1],
)
solver = CEM(world_model, Progress(world_model), candidates=8, horizon=2)
plan = solver.plan(context)
print(plan.actions_BHA[0])  # (horizon, 7): metres, radians, gripper
