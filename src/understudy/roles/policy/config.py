"""The policy role's settings. Every field's docstring is its `--help`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from understudy.lm.compute import ComputeConfig
from understudy.run.config import ConfigError, RunConfig
from understudy.run.fields import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
)

Option = bool | int | float | str | tuple[int, ...]

Algorithm = Literal["reinforce", "rloo", "grpo"]
Compared = Literal["reinforce", "rloo", "grpo", "supervised"]
Kl = Literal["exact", "k1", "k2", "k3"]


@dataclass(frozen=True)
class TaskConfig:
    """How the environment's problems are put and answered."""

    mode: Literal["whole", "stepwise"] = "whole"
    """whole: an action is the whole answer; stepwise: an action is one line of it."""
    calculator: bool = True
    """Write the result into `<<12*3=` while the model is answering."""
    max_steps: PositiveInt = 12
    """Lines after which a stepwise episode is truncated."""
    path: str | None = None
    """JSONL file of the training problems (gsm8k, math)."""
    eval_path: str | None = None
    """JSONL file of the held-out problems (gsm8k, math)."""
    options: dict[str, Option] = field(default_factory=dict[str, Option])
    """Options of the task itself, e.g. `levels = [1, 3]` of word-problems."""
    hard_options: dict[str, Option] = field(default_factory=dict[str, Option])
    """Options of a second, harder held-out set, e.g. `levels = [4, 6]`; empty for none."""
    shots: NonNegativeInt = 0
    """Worked examples from the training split put before every problem."""
    system: str = ""
    """System instruction put before every problem."""

    def check(self) -> None:
        """Rejects the one option that is not the user's to choose."""
        if "split" in {**self.options, **self.hard_options}:
            raise ConfigError(
                "task.options: unknown option 'split'; training and evaluation have their own"
            )


@dataclass(frozen=True)
class LossConfig:
    """The update rule, as advantage × loss × aggregation × KL."""

    scale: Literal["std", "none"] = "std"
    """grpo: divide a group's advantages by their standard deviation; none is Dr. GRPO."""
    clip_low: PositiveFloat = 0.2
    """grpo: lower clip of the probability ratio."""
    clip_high: PositiveFloat = 0.2
    """grpo: upper clip; larger than clip_low is the asymmetric clip of DAPO."""
    aggregate: Literal["token", "sequence", "constant"] = "token"
    """Mean over tokens, mean of answers' means, or the sum over a constant (Dr. GRPO)."""
    kl: Kl = "exact"
    """exact: log-ratio to go as a penalty on the return, whose gradient is that of the KL.
    k1: the same, one sum per answer. k2, k3: in the loss, per token, biased."""
    kl_coef: NonNegativeFloat = 0.01
    """Weight of the KL to the reference; 0 needs no reference."""
    reference_every: NonNegativeInt = 0
    """Iterations after which the policy becomes its own reference; 0 keeps the first."""
    step_gamma: Probability = 1.0
    """Stepwise episodes: discount per step."""
    skip_silent: bool = True
    """Leave out groups whose advantages are all zero; they still count in the denominators."""


@dataclass(frozen=True)
class RewardConfig:
    """What is rewarded beside the task's own grade."""

    unreadable: float = 0.0
    """Reward of an answer in which none can be read (a right one earns 1, a wrong one 0)."""
    judge: str | None = None
    """An LM string: a judge answers yes or no to each dimension, its P(yes) is a reward."""
    dimensions: dict[str, str] = field(default_factory=dict[str, str])
    """The judge's dimensions: name → question about {problem}, {so_far} and {step}."""
    judge_weight: NonNegativeFloat = 0.5
    """Weight of the mean of the dimensions; the task's grade keeps weight 1."""


@dataclass(frozen=True)
class SamplerConfig:
    """Who draws the tokens while training, and what is done about its rounding."""

    engine: Literal["own", "vllm"] = "own"
    """own: this package's sampler; vllm: vLLM in this process, given the weights every iteration."""
    truncate: NonNegativeFloat = 2.0
    """vllm: cap of the importance weight π_trainer / π_engine; 0 for none."""
    level: Literal["token", "sequence"] = "token"
    """vllm: one weight per token, or the product of an answer's (unbiased, but noisier)."""
    max_gap: PositiveFloat = 0.1
    """vllm: stop when the mean |log π_trainer − log π_engine| passes it, in nats; rounding to bfloat16
    gives some thousandths or hundredths, another model's weights tenths or more."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """vllm: number type of the engine; auto is the trained model's."""
    memory: Probability = 0.4
    """vllm: share of the GPU's memory for the engine."""
    sleep: bool = False
    """vllm: the engine lets go of its memory while the model is updated."""

    def check(self) -> None:
        """Rejects a cap that would shrink what needs no correction, and an engine without memory."""
        if 0 < self.truncate < 1:
            raise ConfigError(
                "sampler.truncate: where both agree the weight is 1; cap it at 1 or more, 0 for none"
            )
        if not self.memory:
            raise ConfigError("sampler.memory: the engine needs some; give a share above 0")


@dataclass(frozen=True)
class PolicyConfig:
    """Train a language model by reinforcement learning in a language environment."""

    MAY_CHANGE: ClassVar = ("workers", "shard")
    DEBUG: ClassVar[Mapping[str, Any]] = {
        "iterations": 2, "prompts": 2, "group": 2, "max_tokens": 32,
        "eval_problems": 8, "eval_every": 1, "passk": 2,
    }  # fmt: skip

    env: str = "word-problems"
    """Language environment; `understudy env list` names them."""
    lm: str = "pocket"
    """The model that is trained: pocket or hf:NAME_OR_PATH[+adapter=PATH]."""
    algorithm: Algorithm = "rloo"
    """reinforce (batch baseline), rloo (leave-one-out) or grpo (group-relative, clipped)."""
    seed: NonNegativeInt = 0
    """Everything random follows from it."""
    iterations: PositiveInt = 60
    """Rounds of collecting and updating."""
    prompts: PositiveInt = 8
    """Problems per iteration."""
    group: PositiveInt = 8
    """Answers per problem."""
    epochs: PositiveInt = 1
    """Passes over the collected answers; more than one is off-policy and wants grpo."""
    minibatches: PositiveInt = 1
    """Optimizer steps per pass."""
    accumulate: PositiveInt = 1
    """Backward passes per optimizer step; the result is the same, the memory smaller."""
    learning_rate: PositiveFloat = 3e-4
    """AdamW's peak learning rate."""
    warmup: NonNegativeInt = 3
    """Iterations of linear warm-up."""
    final_rate: Probability = 0.1
    """The last iteration's learning rate, as a share of the peak (linear decay)."""
    max_grad_norm: PositiveFloat = 1.0
    """Gradients are clipped to this norm."""
    temperature: NonNegativeFloat = 1.0
    """Of sampling, and of the log-probabilities trained on."""
    max_tokens: PositiveInt = 128
    """Longest answer."""
    warm_start: NonNegativeInt = 0
    """Supervised updates on the task's worked answers before RL."""
    warm_start_rate: PositiveFloat | None = None
    """Their learning rate; by default that of RL."""
    lora_rank: NonNegativeInt = 0
    """Train a LoRA adapter of this rank instead of all weights; 0 trains all."""
    distill: str | None = None
    """An LM string: pull the policy towards this teacher by reverse KL on its own answers."""
    distill_coef: NonNegativeFloat = 0.1
    """Weight of the distillation term."""
    eval_every: NonNegativeInt = 20
    """Iterations between evaluations; there is one before and one after training in any case."""
    eval_problems: PositiveInt = 500
    """Held-out problems per evaluation."""
    replay: str | None = None
    """A run's episodes/ folder: an iteration that is recorded there trains on the recording instead
    of collecting; off-policy, so it wants grpo."""
    keep_episodes: bool = True
    """Write every collected episode to episodes/, one file an iteration."""
    passk: NonNegativeInt = 4
    """Sampled answers per problem for pass@k at the first and last evaluation; 0 for none."""
    workers: PositiveInt = 1
    """Processes among which playing and gradients are divided; what is learnt is the same."""
    shard: bool = False
    """Divide the weights, too, while gradients are computed (FSDP); the first worker plays alone."""
    task: TaskConfig = TaskConfig()
    loss: LossConfig = LossConfig()
    reward: RewardConfig = RewardConfig()
    sampler: SamplerConfig = SamplerConfig()
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def check(self) -> None:
        """Rejects combinations that cannot mean anything."""
        if self.algorithm != "reinforce" and self.group < 2:
            raise ConfigError(
                f"group: {self.algorithm} compares answers of a group; it must be at least 2"
            )
        if self.task.mode == "stepwise" and self.algorithm == "grpo":
            raise ConfigError(
                "algorithm: stepwise episodes have credit per step; use rloo or reinforce"
            )
        if self.epochs > 1 and self.algorithm != "grpo":
            raise ConfigError(
                f"epochs: {self.algorithm} is on-policy; more than one pass needs grpo"
            )
        if self.replay is not None and self.algorithm != "grpo":
            raise ConfigError("replay: recorded answers are off-policy; they need --algorithm grpo")
        if self.prompts % (self.minibatches * self.accumulate):
            raise ConfigError("minibatches: prompts must divide by minibatches × accumulate")
        if (self.task.path is None) != (self.task.eval_path is None):
            raise ConfigError(
                "task.eval_path: a training file and a held-out file go together; give both paths"
            )
        if self.lora_rank and self.loss.reference_every:
            raise ConfigError(
                "loss.reference_every: under LoRA the reference is the base model and stays"
            )
        if bool(self.reward.judge) != bool(self.reward.dimensions):
            raise ConfigError("reward.judge: a judge and its dimensions go together; give both")
        if self.temperature <= 0:
            raise ConfigError("temperature: training samples, so it must be above 0")
        self._check_where()

    def _check_where(self) -> None:
        """Rejects what its processes, devices and engines cannot do."""
        if self.sampler.engine == "vllm" and (self.workers > 1 or self.replay is not None):
            raise ConfigError(
                "sampler.engine: vllm draws answers in this process, so there is one worker and no replay"
            )
        if self.shard and (self.workers == 1 or self.lora_rank):
            raise ConfigError(
                "shard: weights are divided among workers, so there must be two, and no lora_rank"
            )
        if self.shard and self.compute != ComputeConfig():
            raise ConfigError(
                "compute: divided weights (shard) pass through transformers as they are; leave it out"
            )
        self.run.check_workers(self.workers)


@dataclass(frozen=True)
class PretrainConfig:
    """Make a small language model from nothing on the project's own text tasks."""

    DEBUG: ClassVar[Mapping[str, Any]] = {"steps": 4, "batch_size": 4, "hidden": 32, "layers": 2,
        "heads": 2, "kv_heads": 1, "feed_forward": 64, "tokenizer_examples": 200}  # fmt: skip

    mixture: dict[str, float] = field(default_factory=lambda: {"word-problems": 1.0})
    """Tasks of the corpus and their shares; each must be able to demonstrate itself."""
    options: dict[str, dict[str, Option]] = field(default_factory=dict[str, dict[str, Option]])
    """Options of the tasks, by task."""
    vocab_size: PositiveInt = 1024
    """Most tokens of the tokenizer (at least 261: the bytes and the control tokens)."""
    tokenizer_examples: PositiveInt = 20_000
    """Examples of the corpus the tokenizer is made from."""
    hidden: PositiveInt = 192
    """Width of the model."""
    layers: PositiveInt = 5
    """Transformer blocks."""
    heads: PositiveInt = 6
    """Attention heads."""
    kv_heads: PositiveInt = 2
    """Heads of keys and values."""
    feed_forward: PositiveInt = 512
    """Width of the feed-forward layers."""
    context: PositiveInt = 512
    """Longest sequence, in tokens."""
    steps: PositiveInt = 2500
    """Updates."""
    batch_size: PositiveInt = 32
    """Examples per update."""
    learning_rate: PositiveFloat = 8e-3
    """Peak rate of Muon and AdamW."""
    warmup: NonNegativeInt = 50
    """Updates of linear warm-up."""
    weight_decay: NonNegativeFloat = 0.01
    """Of the hidden matrices."""
    seed: NonNegativeInt = 0
    """Everything random follows from it."""
    run: RunConfig = field(default_factory=RunConfig)

    def check(self) -> None:
        """Rejects shapes that cannot be built."""
        if self.hidden % self.heads or self.heads % self.kv_heads:
            raise ConfigError("heads: hidden must divide by heads, and heads by kv_heads")
        if self.vocab_size < 261:
            raise ConfigError("vocab_size: 256 bytes and 5 control tokens need at least 261")
        if min(self.mixture.values(), default=-1.0) < 0 or not any(self.mixture.values()):
            raise ConfigError("mixture: shares must not be negative, and one must be above 0")
        for name, options in self.options.items():
            if name not in self.mixture:
                raise ConfigError(f"options: {name} is not in the mixture")
            if "split" in options:
                raise ConfigError(
                    "options: unknown option 'split'; the corpus is of training splits"
                )


@dataclass(frozen=True)
class EvalConfig:
    """Evaluate a language model in a language environment; nothing is trained."""

    DEBUG: ClassVar[Mapping[str, Any]] = {"problems": 8, "max_tokens": 32}

    env: str = "word-problems"
    """Language environment; `understudy env list` names them."""
    lm: str = "pocket"
    """Any language model: pocket, hf:…, openai:…, http://host:port/v1#MODEL, replay:FILE."""
    seed: NonNegativeInt = 0
    """Of the few-shot choice and of sampling."""
    problems: PositiveInt = 500
    """Held-out problems."""
    samples: PositiveInt = 1
    """Answers per problem; more than one needs a temperature and gives pass@k."""
    temperature: NonNegativeFloat = 0.0
    """0 is greedy."""
    max_tokens: PositiveInt = 256
    """Longest answer."""
    max_usd: PositiveFloat | None = None
    """Stop before more than this is spent."""
    task: TaskConfig = TaskConfig()
    run: RunConfig = field(default_factory=RunConfig)

    def check(self) -> None:
        """Rejects several greedy answers, which would all be the same."""
        if self.samples > 1 and self.temperature <= 0:
            raise ConfigError(
                "temperature: several samples of a problem need a temperature above 0"
            )


@dataclass(frozen=True)
class CompareConfig:
    """Algorithms side by side: same model, problems, budget and seeds, with intervals."""

    DEBUG: ClassVar[Mapping[str, Any]] = {"algorithms": ("rloo", "supervised"), "seeds": (0,)}

    algorithms: tuple[Compared, ...] = ("reinforce", "rloo", "grpo", "supervised")
    """What is compared; `supervised` spends the same updates on worked answers instead of RL."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run per algorithm and seed."""
    base: PolicyConfig = PolicyConfig()
    """The settings all runs share."""


@dataclass(frozen=True)
class GradeConfig:
    """Grade answers in a file: rows {question, answer, response} get `correct` and `value`."""

    POSITIONAL: ClassVar[tuple[str, ...]] = ("file",)

    file: str = ""
    """JSONL file to grade (also given as the first argument)."""
    env: str = "gsm8k"
    """Whose rules grade."""
    out: str = ""
    """JSONL file to write."""

    def check(self) -> None:
        """Both files must be named."""
        if not self.file or not self.out:
            raise ConfigError("file: grade needs a FILE to read and --out FILE to write")
