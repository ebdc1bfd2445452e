"""The maths, as pure functions in the papers' symbols."""

from understudy.ops.advantages import (
    batch_baseline,
    group_relative,
    leave_one_out,
    signal_groups,
    stepwise_leave_one_out,
    whiten,
)
from understudy.ops.aggregate import aggregate, denominator
from understudy.ops.distill import Divergence, distillation, entropy
from understudy.ops.kl import full_kl, k1, k2, k3, kl_to_go
from understudy.ops.latents import (
    balanced_kl,
    divergence,
    sample_one_hot,
    straight_through,
    unimix,
)
from understudy.ops.logprobs import selective_log_softmax, token_logprobs
from understudy.ops.pad import pad_ragged
from understudy.ops.policy_loss import ppo_clip, reinforce
from understudy.ops.returns import (
    bootstrapped_returns,
    discounted_returns,
    gae,
    lambda_returns,
)
from understudy.ops.stats import (
    bootstrap_ci,
    holm,
    iqm,
    mann_whitney,
    mcnemar,
    mean_over_steps,
    pass_at_k,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap_ci,
    wilson,
)
from understudy.ops.symlog import (
    even_bins,
    expected,
    symexp,
    symexp_bins,
    symlog,
    two_hot,
    two_hot_loss,
)
from understudy.ops.value_loss import value_loss

__all__ = [
    "Divergence", "aggregate", "balanced_kl", "batch_baseline", "bootstrap_ci",
    "bootstrapped_returns", "denominator", "discounted_returns", "distillation", "divergence",
    "entropy", "even_bins", "expected", "full_kl", "gae", "group_relative", "holm", "iqm", "k1", "k2",
    "k3", "kl_to_go", "lambda_returns", "leave_one_out", "mann_whitney", "mcnemar",
    "mean_over_steps", "pad_ragged", "pass_at_k", "performance_profile", "ppo_clip",
    "probability_of_improvement", "reinforce", "sample_one_hot", "selective_log_softmax",
    "signal_groups", "stepwise_leave_one_out", "straight_through", "stratified_bootstrap_ci", "symexp", "symexp_bins", "symlog",
    "token_logprobs", "two_hot", "two_hot_loss", "unimix", "value_loss", "whiten", "wilson",
]  # fmt: skip
