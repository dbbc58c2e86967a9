"""vLLM as a rollout engine, in the trainer's process, fed with the trainer's own prompts.

Prompts go in rendered: our ids, our pixels or vision features, our position ids. vLLM's processor never runs,
so both sides read the same prompt to the bit. Qwen2.5-VL's true times need position ids that vLLM cannot
compute (it spaces frames evenly): they travel beside the pixels and replace its own.

Everything here is measured against vLLM 0.32; its interfaces change between releases, so nothing else of this
package imports it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from vllm import LLM, SamplingParams
from vllm.distributed import get_tp_group
from vllm.inputs.engine import mm_input
from vllm.model_executor.models.qwen2_5_vl import Qwen2_5_VLForConditionalGeneration
from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems, PlaceholderRange
from vllm.sampling_params import RequestOutputKind
from vllm.v1.sample.logits_processor import LogitsProcessor

from strive_data.errors import StriveError, UsageError
from strive_rl.common import distributed
from strive_rl.config import EngineSettings
from strive_rl.policy import Policy, Prompt, RngKey, Sampling
from strive_rl.policy.architectures.qwen_vl import Qwen25VL
from strive_rl.policy.load import model_source
from strive_rl.schema import Completion

POSITIONS = "strive_positions"


class VllmEngine:
    """See `groups.RolloutEngine`. Completions have no entropies: vLLM gives none."""

    def __init__(self, policy: Policy, settings: EngineSettings, longest: int) -> None:
        self.version = 0
        self._policy = policy
        self._shared = settings.tensor_parallel_size > 1
        self._own_positions = isinstance(policy.architecture, Qwen25VL)
        if self._own_positions:
            _use_own_positions()
        # Where the settings allow more than the model has positions, prompts decide (`_require_room`).
        self._longest = min(longest, policy.model.config.text_config.max_position_embeddings)
        on_gpu = policy.device.type == "cuda"
        self._sleeps = on_gpu and settings.sleep
        self._llm = LLM(
            model=model_source(policy.name),
            dtype=str(policy.model.dtype).removeprefix("torch."),
            max_model_len=self._longest,
            enforce_eager=not on_gpu,
            gpu_memory_utilization=settings.gpu_memory_utilization,
            tensor_parallel_size=settings.tensor_parallel_size,
            enable_sleep_mode=self._sleeps,
            enable_prefix_caching=True,
            # After a part of a prompt vLLM 0.32 rewinds the request's generator: one of the CPU cannot.
            enable_chunked_prefill=None if on_gpu else False,
            limit_mm_per_prompt={"image": 1, "video": 1},
            enable_mm_embeds=True,
            mm_processor_cache_gb=0,
            skip_mm_profiling=True,
            # Our pixels are normalised already.
            mm_device_do_normalize=False,
            logprobs_mode="processed_logprobs",
            logits_processors=[_suppressing(policy.suppressed)],
            generation_config="vllm",
            disable_log_stats=True,
            seed=0,
            **({"distributed_executor_backend": "external_launcher"} if distributed.world_size() > 1 else {}),
        )
        if distributed.world_size() > 1:  # It has groups of its own within that of all processes.
            distributed.AT_END.append(self._llm.llm_engine.engine_core.shutdown)

    def sync(self, weights: Iterable[tuple[str, torch.Tensor]], version: int) -> None:
        """Copy the weights into place and drop the keys, values and features that older ones made."""
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights)})
        if not self._llm.reset_prefix_cache():
            raise StriveError("vllm: the prefix cache of older weights could not be dropped")
        self._llm.llm_engine.reset_encoder_cache()
        self.version = version

    def sleep(self) -> None:
        """Take part in what other processes still sample, then free the weights and the cache of a GPU."""
        while self._shared and any(distributed.all_gather(False)):
            self._run([])
        if self._sleeps:
            self._llm.sleep(level=2)

    def wake(self) -> None:
        """Inverse of `sleep`, without the weights."""
        if self._sleeps and self._llm.llm_engine.is_sleeping():
            self._llm.wake_up()

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[RngKey] = ()
    ) -> list[list[Completion]]:
        """G completions of each prompt, [P][G]; equal keys, prompts and weights give equal completions."""
        mine = []
        for number, prompt in enumerate(prompts):
            self._require_room(len(prompt.ids), sampling.max_new_tokens)
            parameters = self._parameters(sampling, None if sampling.greedy else keys[number])
            mine.append((self._rendered(prompt), parameters))
        if self._shared:
            distributed.all_gather(True)
        return [[self._completion(each) for each in row] for row in self._run(mine)]

    def _run(self, mine: list[Any]) -> list[Any]:
        """The outputs of these requests. Processes that share a copy of the weights all run those of all, in
        one order, and keep their own."""
        engine, parts, own = self._llm.llm_engine, [mine], 0
        if self._shared:
            group = get_tp_group()
            parts, own = [mine] * group.world_size, group.rank_in_group
            dist.all_gather_object(parts, mine, group=group.cpu_group)
        for process, part in enumerate(parts):
            for number, (prompt, parameters) in enumerate(part):
                engine.add_request(f"{process}-{number}", prompt, parameters)
        done: dict[str, Any] = {}
        while engine.has_unfinished_requests():
            done |= {each.request_id: each for each in engine.step() if each.finished}
        outputs = (done[f"{own}-{number}"].outputs for number in range(len(mine)))
        return [sorted(row, key=lambda each: each.index) for row in outputs]

    def _require_room(self, prompt: int, new: int) -> None:
        """Raise UsageError for a prompt that with its completion is longer than the engine takes."""
        if prompt + new > self._longest:
            raise UsageError(
                f"a prompt of {prompt} tokens and {new} new ones: with engine=vllm the model "
                f"{self._policy.name} takes {self._longest}; set policy.max_prompt_tokens to "
                f"{max(1, self._longest - new)} or less"
            )

    def _parameters(self, sampling: Sampling, key: RngKey | None) -> SamplingParams:
        return SamplingParams(
            n=sampling.completions,
            temperature=0.0 if sampling.greedy else sampling.temperature,
            top_p=1.0,
            top_k=0,
            max_tokens=sampling.max_new_tokens,
            logprobs=0,
            stop_token_ids=list(self._policy.end_ids),
            seed=None if key is None else _seed(key),
            detokenize=False,
            # Else only one of n completions is kept.
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _completion(self, output: Any) -> Completion:
        ids = tuple(output.token_ids)
        logprobs = tuple(float(row[token].logprob) for token, row in zip(ids, output.logprobs, strict=True))
        return Completion(
            ids=ids,
            logprobs=logprobs,
            text=self._policy.tokenizer.decode(list(ids), skip_special_tokens=True),
            finished=output.finish_reason == "stop",
        )

    def _rendered(self, prompt: Prompt) -> Any:
        """The prompt as vLLM's engine takes it behind its processor."""
        kind = "image" if prompt.still else "video"
        data: dict[str, torch.Tensor] = {f"{kind}_grid_thw": torch.tensor([prompt.grid])}
        fields = {f"{kind}_grid_thw": MultiModalFieldConfig.batched(kind, keep_on_cpu=True)}
        if prompt.features is not None:
            name = f"{kind}_embeds"
            data[name] = prompt.features.cpu() if self._shared else prompt.features
        else:
            name = "pixel_values" if prompt.still else "pixel_values_videos"
            data[name] = prompt.pixels
        fields[name] = MultiModalFieldConfig.flat_from_sizes(kind, torch.tensor([len(data[name])]))
        if self._own_positions:
            data[POSITIONS] = torch.from_numpy(prompt.positions)[None]
            fields[POSITIONS] = MultiModalFieldConfig.batched(kind, keep_on_cpu=True)
        items = MultiModalKwargsItems.from_hf_inputs(data, fields)
        return mm_input(
            prompt.ids.tolist(), items, {kind: [_digest(prompt)]}, {kind: [self._placeholder(prompt)]}
        )

    def _placeholder(self, prompt: Prompt) -> PlaceholderRange:
        """Where the video or image is; a video of Qwen3-VL starts at the vision start token before its first
        patch."""
        columns = np.flatnonzero(prompt.is_video)
        marked = not self._own_positions and not prompt.still
        first, end = int(columns[0]) - marked, int(columns[-1]) + 1
        mask = torch.from_numpy(prompt.is_video[first:end])
        return PlaceholderRange(offset=first, length=end - first, is_embed=None if bool(mask.all()) else mask)


def _seed(key: RngKey) -> int:
    words = f"{key.seed} {key.epoch} {key.position} {key.variant}"
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:6], "big")


def _digest(prompt: Prompt) -> str:
    """Identity of the video for vLLM's caches: its pixels and its positions."""
    digest = hashlib.sha256(prompt.pixels.numpy().tobytes())
    digest.update(prompt.positions.tobytes())
    return digest.hexdigest()


def _suppressing(suppressed: torch.Tensor) -> type[LogitsProcessor]:
    """A processor that puts the logits of suppressed ids to −∞ for all requests."""

    class Suppressing(LogitsProcessor):  # type: ignore[misc]  # vllm is not installed where types are checked
        def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
            size = vllm_config.model_config.get_vocab_size()
            self.hidden = torch.nn.functional.pad(suppressed, (0, size - len(suppressed)), value=True).to(
                device
            )

        def apply(self, logits: torch.Tensor) -> torch.Tensor:
            return logits.masked_fill_(self.hidden, -torch.inf)

        def is_argmax_invariant(self) -> bool:
            return False

        def update_state(self, batch_update: Any) -> None:
            return None

    return Suppressing


def _use_own_positions() -> None:
    """Let vLLM's Qwen2.5-VL take the position ids that come with a video."""
    model: Any = Qwen2_5_VLForConditionalGeneration
    if hasattr(model, "strive_stock_positions"):
        return
    model.strive_stock_positions = model.get_mrope_input_positions

    def positions(self: Any, input_tokens: list[int], mm_features: Any) -> tuple[torch.Tensor, int]:
        own = [each.data[POSITIONS].data for each in mm_features if each.data and POSITIONS in each.data]
        if not own:
            stock: tuple[torch.Tensor, int] = model.strive_stock_positions(self, input_tokens, mm_features)
            return stock
        prompt = own[0].reshape(3, -1)
        following, more = int(prompt.max()) + 1, len(input_tokens) - prompt.shape[1]
        tail = (torch.arange(max(0, more)) + following).expand(3, -1)
        return torch.cat([prompt, tail], dim=1), following - prompt.shape[1]

    model.get_mrope_input_positions = positions
