"""The policy: a vision-language model that reads each prompt once (DESIGN.md sections 5 and 7).

load         a hub name or a folder → Policy
model        Policy: the model, and the only calls into it
architecture what differs between models, a protocol; qwen2_5_vl and qwen3_vl follow it
sharding     the model laid over several processes
attention    a row's attention without a mask over its prompt
adapter      low-rank adapters in place of all weights, merged again for a checkpoint
positions    true times or time stamps → three-axis position ids, pure
encode       group → prompts
vision       prompts → features and what the language model reads
tokens       hidden states → log-probabilities of tokens, the one place that defines them
chance       the random numbers of sampling, the same in any batch; pure
sample       prompts → completions
block        layout and mask of one prompt with its G completions in one row, pure
logprobs     prompts and completions → log-probabilities with gradients
estimate     tokens and bytes of a step, from the settings and the model's config
"""

from strive_rl.policy.encode import Patches, encode, prompt_form
from strive_rl.policy.generate import NotFiniteError, RngKey, Sampling, sample
from strive_rl.policy.load import load_policy
from strive_rl.policy.logprobs import logprobs
from strive_rl.policy.policy import Policy
from strive_rl.policy.vision import with_features
from strive_rl.schema import Prompt

__all__ = [
    "NotFiniteError",
    "Patches",
    "Policy",
    "Prompt",
    "RngKey",
    "Sampling",
    "encode",
    "load_policy",
    "logprobs",
    "prompt_form",
    "sample",
    "with_features",
]
