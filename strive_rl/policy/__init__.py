"""The policy: a vision-language model that reads each prompt once.

load           a hub name or a folder → Policy
policy         Policy: the model, and the only calls into it; the protocol of an architecture
architectures  what differs between models, one file a family
encode         group → prompts, their vision features and what the language model reads
packing        prompts and completions in one row, and attention over it
layers         parts of transformers' models that are replaced by cheaper equal ones
kernels        attention over one set of keys, forward and backward, and over two joined
generate       prompts → completions
logprobs       prompts and completions → log-probabilities with gradients
lora           low-rank adapters in place of all weights, merged again for a checkpoint
sharding       the model laid over several processes
"""

from strive_rl.policy.encode import Patches, encode, prompt_form, with_features
from strive_rl.policy.generate import NotFiniteError, RngKey, Sampling, sample
from strive_rl.policy.load import load_policy
from strive_rl.policy.logprobs import logprobs
from strive_rl.policy.policy import Policy
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
