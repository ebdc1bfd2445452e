"""understudy: a language model in any part of the reinforcement-learning loop."""

__version__ = "0.1.0"
