"""The LM is the world model: an agent learns to act inside what a small Llama predicts."""

import sys

import understudy

run = understudy.launch(
    "world_model train", env="CartPole-v1", core="llama", debug="--debug" in sys.argv
)
understudy.launch("world_model eval", agent=run)  # and a picture of what it dreams
