"""A step by transformers alone: `generate`, then a forward and backward pass over full rows, then AdamW."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from tools.bench.step.task import Task, frames_of, reward_of, text_of


class Plain:
    """A model and its optimizer; the vision tower is frozen, as in the other ways."""

    def __init__(self, folder: Path, task: Task, *, device: str = "cpu", dtype: str = "float32") -> None:
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype).to(device)
        self.model.model.visual.requires_grad_(False)
        trained = [each for each in self.model.parameters() if each.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-6, weight_decay=0.0)
        self.task, self.groups = task, task.groups()
        self.prompt_tokens = 0

    def step(self) -> None:
        """One step."""
        inputs = self._inputs()
        self.prompt_tokens = inputs["input_ids"].shape[1]
        self.model.eval()
        with torch.no_grad():
            ids = self.model.generate(
                **inputs,
                do_sample=True,
                top_k=0,
                min_new_tokens=self.task.tokens,
                max_new_tokens=self.task.tokens,
                num_return_sequences=self.task.completions,
                suppress_tokens=vision_ids(self.model.config),
            )
        self.model.train()
        texts = self.processor.tokenizer.batch_decode(ids[:, self.prompt_tokens :], skip_special_tokens=True)
        rewards = torch.tensor([reward_of(text) for text in texts]).view(self.task.questions, -1)
        advantages = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
        picked = self._logprobs(inputs, ids)
        ratio = (picked - picked.detach()).exp()
        (-ratio * advantages.flatten().to(picked.device)[:, None]).mean().backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _inputs(self) -> dict[str, Any]:
        turns = [
            [{"role": "user", "content": [video_part(group), {"type": "text", "text": text_of(group)}]}]
            for group in self.groups
        ]
        made = self.processor.apply_chat_template(
            turns,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            add_generation_prompt=True,
            padding=True,
            processor_kwargs={"do_sample_frames": False, "cap_pixels_per_frame": False, **size_of(self.task)},
        )
        return dict(made.to(self.model.device))

    def _logprobs(self, inputs: dict[str, Any], ids: torch.Tensor) -> torch.Tensor:
        """Log-probabilities [R, L] of the sampled tokens, by full rows."""
        count, tokens = self.task.completions, self.task.tokens
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


def vision_ids(config: Any) -> list[int]:
    """The ids of pictures and videos: a model that samples one cannot read its own text back."""
    return [config.image_token_id, config.video_token_id]


def video_part(group: Any) -> dict[str, Any]:
    """The part of a chat message that shows the frames as a video."""
    return {"type": "video", "video": torch.from_numpy(frames_of(group)).permute(0, 3, 1, 2)}


def size_of(task: Task) -> dict[str, Any]:
    """Bounds of the video processor under which no frame changes its size, whether they are a frame's or a
    clip's."""
    return {"size": {"shortest_edge": 28 * 28, "longest_edge": task.frames * task.side**2}}
