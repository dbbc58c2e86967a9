"""A step by transformers alone: `generate`, then a forward and backward pass over full rows, then AdamW."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from strive_rl.common.profiling import Stopwatch
from strive_rl.config import PolicySettings
from strive_rl.policy.load import freeze
from strive_rl.policy.lora import add_adapters
from strive_rl.schema import Group, View
from tools.bench.step.task import reward_of, text_of


class Plain:
    """A model and its optimizer; the vision tower is frozen, as in the other ways.

    `questions_per_pass` are sampled and learned together, `recompute` drops activations until the backward
    pass. Both bound the memory.
    """

    def __init__(
        self,
        folder: Path,
        groups: Sequence[Group],
        *,
        completions: int,
        tokens: int,
        device: str = "cpu",
        dtype: str = "float32",
        lora_rank: int = 0,
        questions_per_pass: int = 1024,
        recompute: bool = False,
    ) -> None:
        self.processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
        self.model = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=dtype, trust_remote_code=False
        ).to(device)
        settings = PolicySettings(lora_rank=lora_rank, gradient_checkpointing=recompute)
        freeze(self.model, settings)
        if lora_rank:
            add_adapters(self.model, settings)
        trained = [each for each in self.model.parameters() if each.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-6, weight_decay=0.0)
        self.groups, self.completions, self.tokens = groups, completions, tokens
        self.questions_per_pass, self.prompt_tokens = questions_per_pass, 0
        self.seconds: dict[str, float] = {}

    def step(self) -> None:
        """One step; `seconds` then has its phases."""
        watch = Stopwatch()
        sampled: list[tuple[dict[str, Any], torch.Tensor]] = []
        for start in range(0, len(self.groups), self.questions_per_pass):
            inputs = self._inputs(self.groups[start : start + self.questions_per_pass])
            watch.lap("encode")
            sampled.append((inputs, self._generate(inputs)))
            _finish(self.model.device)
            watch.lap("rollout")
        rows = sum(len(ids) for _, ids in sampled)
        for inputs, ids in sampled:
            self._learn(inputs, ids, rows)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        _finish(self.model.device)
        watch.lap("update")
        self.seconds = watch.seconds()

    def _inputs(self, groups: Sequence[Group]) -> dict[str, Any]:
        turns = [
            [{"role": "user", "content": [video_part(view), {"type": "text", "text": text_of(group)}]}]
            for group in groups
            for view in group.views
        ]
        made = self.processor.apply_chat_template(
            turns,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            add_generation_prompt=True,
            padding=True,
            processor_kwargs=video_options(groups),
        )
        self.prompt_tokens = made["input_ids"].shape[1]
        return dict(made.to(self.model.device))

    def _generate(self, inputs: dict[str, Any]) -> torch.Tensor:
        self.model.eval()
        with torch.no_grad():
            ids: torch.Tensor = self.model.generate(
                **inputs,
                do_sample=True,
                top_k=0,
                min_new_tokens=self.tokens,
                max_new_tokens=self.tokens,
                num_return_sequences=self.completions,
                suppress_tokens=vision_ids(self.model.config),
            )
        return ids

    def _learn(self, inputs: dict[str, Any], ids: torch.Tensor, rows: int) -> None:
        """Add the gradients of these rows; a row has its share of all."""
        self.model.train()
        texts = self.processor.tokenizer.batch_decode(ids[:, -self.tokens :], skip_special_tokens=True)
        per_question = self.completions * len(self.groups[0].views)
        rewards = torch.tensor([reward_of(text) for text in texts]).view(-1, per_question)
        advantages = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
        picked = self._logprobs(inputs, ids)
        ratio = (picked - picked.detach()).exp()
        by_row = (-ratio * advantages.flatten().to(picked.device)[:, None]).mean(dim=1)
        (by_row.sum() / rows).backward()

    def _logprobs(self, inputs: dict[str, Any], ids: torch.Tensor) -> torch.Tensor:
        """Log-probabilities [R, L] of the sampled tokens, by full rows."""
        count, tokens = self.completions, self.tokens
        grid = inputs["video_grid_thw"]
        pixels = torch.split(inputs["pixel_values_videos"], grid.prod(-1).tolist())
        mask = inputs["attention_mask"].repeat_interleave(count, 0)
        kinds = inputs["mm_token_type_ids"].repeat_interleave(count, 0)
        logits = self.model(
            input_ids=ids,
            attention_mask=torch.nn.functional.pad(mask, (0, tokens), value=1),
            mm_token_type_ids=torch.nn.functional.pad(kinds, (0, tokens)),
            pixel_values_videos=torch.cat([each for each in pixels for _ in range(count)]),
            video_grid_thw=grid.repeat_interleave(count, 0),
            logits_to_keep=tokens + 1,
            use_cache=False,
        ).logits[:, :-1]
        logprobs = torch.log_softmax(logits.float(), dim=-1)
        return logprobs.gather(-1, ids[:, -tokens:, None])[..., 0]


def _finish(device: torch.device) -> None:
    """Wait for a GPU, so that a phase has its own seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def vision_ids(config: Any) -> list[int]:
    """The ids of pictures and videos: a model that samples one cannot read its own text back."""
    return [config.image_token_id, config.video_token_id]


def video_part(view: View) -> dict[str, Any]:
    """The part of a chat message that shows the frames as a video."""
    return {"type": "video", "video": torch.from_numpy(view.frames).permute(0, 3, 1, 2)}


def video_options(groups: Sequence[Group]) -> dict[str, Any]:
    """Options of the video processor under which it takes all frames and changes none, whether its bounds are
    a frame's or a clip's."""
    most = max(view.frames[..., 0].size for group in groups for view in group.views)
    size = {"shortest_edge": 28 * 28, "longest_edge": most}
    return {"do_sample_frames": False, "cap_pixels_per_frame": False, "size": size}
