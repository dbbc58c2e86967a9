"""What samples completions: prompts in, completions out, with weights that follow the trainer's.

"builtin" is the policy's own loop on the trainer's weights. Another engine holds a copy of the weights: the
trainer sends them once a step, before anything is sampled, under the number of the steps done.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch

from strive_data.errors import StriveError, UsageError
from strive_rl.common import distributed
from strive_rl.common.preflight import require_engine
from strive_rl.config import EngineSettings
from strive_rl.policy import Policy, Prompt, RngKey, Sampling
from strive_rl.policy.lora import plain_weights
from strive_rl.policy.sharding import unsharded
from strive_rl.schema import Completion

# Read by vLLM when it is imported. The engine lives in this process and does not bind itself to cores.
VLLM_DEFAULTS = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


class RolloutEngine(Protocol):
    """Samples from a copy of the weights, that of `version`; None stands for the policy's own loop on its own
    weights."""

    version: int

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[RngKey] = ()
    ) -> list[list[Completion]]:
        """G completions of each prompt, [P][G]; equal keys, prompts and weights give equal completions.

        `keys` has one for each prompt, unless `sampling.greedy`.
        """

    def sync(self, weights: Iterable[tuple[str, torch.Tensor]], version: int) -> None:
        """Take weights, by the names of a checkpoint; what was cached under older ones is dropped."""

    def sleep(self) -> None:
        """Free memory until `wake`; the weights may be lost."""

    def wake(self) -> None:
        """Take the memory back; a `sync` must follow."""


@contextmanager
def newest_weights(engine: RolloutEngine | None, policy: Policy, version: int) -> Iterator[None]:
    """Sampling by all processes with all of the policy's newest weights, those after `version` steps, by the
    engine too, which sleeps after this context. A StriveError of one process ends all others, as where the
    engine sampled with other weights."""
    with unsharded(policy.model), distributed.propagate_errors():
        if engine:
            engine.wake()
            engine.sync(plain_weights(policy.model, policy.settings.lora_scale), version)
        yield
        if engine:
            if engine.version != version:
                raise StriveError(
                    f"after step {version}: the engine sampled with the weights of step {engine.version}"
                )
            engine.sleep()


def load_engine(policy: Policy, settings: EngineSettings, max_new_tokens: int) -> RolloutEngine | None:
    """The engine of the settings, None for the builtin one; it takes prompts as long as the policy does, with
    completions of `max_new_tokens`.

    Raises UsageError where vLLM is not installed, or the engine is not known to read this architecture as the
    policy does.
    """
    if settings.engine == "builtin":
        return None
    require_engine(settings.engine, policy.model.config.model_type)
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    for name, value in VLLM_DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        from strive_rl.rollout.vllm import VllmEngine
    except ImportError as error:
        raise UsageError(
            f"rollout.engine=vllm: vllm cannot be imported ({error}); install the [vllm] extra"
        ) from error
    return VllmEngine(policy, settings, policy.settings.max_prompt_tokens + max_new_tokens)
