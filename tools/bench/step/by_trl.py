"""A step of TRL's GRPOTrainer, with a video, or with an image for each frame.

TRL 1.16.0 samples with a video and learns without it. The processor's `pixel_values_videos` go to `generate`,
but only fields of images are kept for the loss: its forward pass sees placeholder tokens where the video was.
`VideoTrainer` hands the video to that pass too, so that both passes read the same prompt.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from tools.bench.step.plain import video_options, video_part, vision_ids
from tools.bench.step.task import Task, reward_of, text_of

Parts = dict[str, list[dict[str, Any]]]


class VideoTrainer(GRPOTrainer):
    """GRPOTrainer on prompts whose videos come from `parts`, by the text of the prompt: a data set of TRL
    would hold them as tables. A video also reaches the loss. Images, without `parts`, are TRL's own way."""

    parts: Parts
    passes_with_video = 0
    prompt_tokens = 0

    def _tokenize_prompts(self, prompts: list[Any]) -> Any:
        if self.parts:
            texts = [prompt[0]["content"] for prompt in prompts]
            contents = [[*self.parts[text], {"type": "text", "text": text}] for text in texts]
            prompts = [[{"role": "user", "content": content}] for content in contents]
        ids, images, fields = super()._tokenize_prompts(prompts)
        self.prompt_tokens = len(ids[0])
        self._videos: dict[tuple[int, ...], tuple[torch.Tensor, torch.Tensor]] = {}
        if "pixel_values_videos" in fields:
            grids = torch.as_tensor(fields["video_grid_thw"])
            pixels = torch.split(torch.as_tensor(fields["pixel_values_videos"]), grids.prod(-1).tolist())
            self._videos = {
                tuple(row): (each, grid) for row, each, grid in zip(ids, pixels, grids, strict=True)
            }
        return ids, images, fields

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, kept: int, **options: Any
    ) -> Any:
        given = self._with_video(model) if self._videos else model
        return super()._get_per_token_logps_and_entropies(given, input_ids, attention_mask, kept, **options)

    def _with_video(self, model: Any) -> Callable[..., Any]:
        """The model, given the video of each row beside its ids."""
        token = self.model.config.video_token_id

        def call(*, input_ids: torch.Tensor, attention_mask: torch.Tensor, **options: Any) -> Any:
            rows = [row[mask.bool()].tolist() for row, mask in zip(input_ids, attention_mask, strict=True)]
            found = [
                next(video for prompt, video in self._videos.items() if tuple(row[: len(prompt)]) == prompt)
                for row in rows
            ]
            self.passes_with_video += 1
            return model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                pixel_values_videos=torch.cat([pixels for pixels, _ in found]),
                video_grid_thw=torch.stack([grid for _, grid in found]),
                mm_token_type_ids=2 * (input_ids == token),
                **options,
            )

        return call


class _Clock(TrainerCallback):
    """CPU and wall seconds of the last step, without start and end of `train`."""

    def __init__(self) -> None:
        self.seconds = (0.0, 0.0)
        self._started = (0.0, 0.0)

    def on_step_begin(self, *args: Any, **options: Any) -> None:
        self._started = time.process_time(), time.perf_counter()

    def on_step_end(self, *args: Any, **options: Any) -> None:
        cpu, wall = self._started
        self.seconds = time.process_time() - cpu, time.perf_counter() - wall


class ByTrl:
    """A trainer of one step at a time; the vision tower is frozen and nothing is recomputed, as in the other
    ways (TRL would recompute activations by default)."""

    def __init__(self, folder: Path, task: Task, *, images: bool = False) -> None:
        model = AutoModelForImageTextToText.from_pretrained(folder, dtype="float32", trust_remote_code=False)
        model.model.visual.requires_grad_(False)
        processor = AutoProcessor.from_pretrained(folder, padding_side="left", trust_remote_code=False)
        groups = task.groups()
        rows: dict[str, list[Any]] = {
            "prompt": [[{"role": "user", "content": text_of(group)}] for group in groups]
        }
        if images:
            rows["images"] = [[*map(Image.fromarray, group.views[0].frames)] for group in groups]
        self.clock, self.prompt_tokens = _Clock(), 0
        self.trainer = VideoTrainer(
            model=model,
            processing_class=processor,
            reward_funcs=_reward,
            args=_config(folder, task, model.config, {} if images else video_options(groups)),
            train_dataset=Dataset.from_dict(rows),
            callbacks=[self.clock],
        )
        shown = () if images else groups
        self.trainer.parts = {text_of(group): [video_part(group.views[0])] for group in shown}

    def step(self) -> tuple[float, float]:
        """One step; its CPU and wall seconds."""
        self.trainer.train()
        self.prompt_tokens = self.trainer.prompt_tokens
        return self.clock.seconds


def _config(folder: Path, task: Task, config: Any, options: dict[str, Any]) -> GRPOConfig:
    return GRPOConfig(
        output_dir=str(folder / "trl"),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=task.questions * task.completions,
        num_generations=task.completions,
        max_completion_length=task.tokens,
        generation_kwargs={"min_new_tokens": task.tokens, "suppress_tokens": vision_ids(config)},
        chat_template_kwargs={"processor_kwargs": options} if options else {},
        learning_rate=1e-6,
        max_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        shuffle_dataset=False,
    )


def _reward(completions: list[Any], **columns: Any) -> list[float]:
    return [reward_of(completion[0]["content"]) for completion in completions]
