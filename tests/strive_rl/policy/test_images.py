"""Prompts of images: those of the models' own processors and position ids, alone and packed with videos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from strive_data.errors import SampleError
from strive_rl.policy import Policy, encode
from strive_rl.policy.encode import user_text, with_features
from strive_rl.policy.logprobs import logprobs
from strive_rl.schema import Completion, Group
from tests.strive_rl.made.groups import make_group
from tests.strive_rl.policy.test_logprobs import TEMPERATURE, plain

MakeGroup = Callable[..., Group]
SAID = [
    Completion(ids=ids, logprobs=(), text="", finished=True) for ids in ((65, 66, 67, 256), (70, 71), (72,))
]


def image_group(side: int = 64, **more: Any) -> Group:
    group = make_group(times=((0.0,),), side=side, **more)
    return replace(group, views=(replace(group.views[0], still=True),))


def by_processor(policy: Policy, group: Group) -> Any:
    """The whole input by the model's own processor, as for any image."""
    content = [{"type": "image"}, {"type": "text", "text": user_text(group.question, still=True)}]
    text = policy.processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    least = (policy.processor.image_processor.patch_size * 2) ** 2
    return policy.processor(
        text=[text],
        images=[Image.fromarray(group.views[0].frames[0])],
        size={"shortest_edge": least, "longest_edge": policy.settings.max_pixels},
        return_tensors="pt",
    )


@pytest.mark.parametrize(("side", "max_pixels"), [(28, 128 * 28 * 28), (84, 128 * 28 * 28), (120, 4096)])
def test_ids_pixels_and_positions_are_those_of_the_processor_and_the_model(
    any_policy: Policy, side: int, max_pixels: int
) -> None:
    policy = replace(any_policy, settings=replace(any_policy.settings, max_pixels=max_pixels))
    group = image_group(side)
    (prompt,) = encode(policy, group)
    whole = by_processor(policy, group)
    assert prompt.ids.tolist() == whole["input_ids"][0].tolist()
    assert torch.equal(prompt.pixels, whole["pixel_values"])
    assert prompt.grid == tuple(whole["image_grid_thw"][0].tolist())
    assert prompt.still
    positions, _ = policy.model.model.get_rope_index(
        whole["input_ids"],
        mm_token_type_ids=whole["mm_token_type_ids"],
        image_grid_thw=whole["image_grid_thw"],
    )
    np.testing.assert_array_equal(prompt.positions, positions[:, 0])


def test_the_prompt_speaks_of_an_image_in_its_tokens_and_its_words(any_policy: Policy) -> None:
    group = image_group(side=32)
    (prompt,) = encode(any_policy, replace(group, question=replace(group.question, problem_type="OCR")))
    text = any_policy.tokenizer.decode(prompt.ids)
    assert "user\n<|vision_start|><|image_pad|><|vision_end|>Which?" in text
    assert "what the image shows" in text
    assert "written in the image" in text
    assert "video" not in text


@pytest.mark.parametrize("pairs", ["doubled", "neighbours"])
def test_an_image_is_one_patch_however_frames_are_paired(any_policy: Policy, pairs: Any) -> None:
    group = image_group()
    (once,) = encode(any_policy, group)
    twice = replace(group.views[0], frames=group.views[0].frames[[0, 0]], times=np.zeros(2), paired=True)
    policy = replace(any_policy, settings=replace(any_policy.settings, frame_pairs=pairs))
    (prompt,) = encode(policy, replace(group, views=(twice,)))
    assert prompt.grid == once.grid
    assert torch.equal(prompt.pixels, once.pixels)


def test_a_question_with_a_vision_token_is_refused(any_policy: Policy) -> None:
    """About an image as about a video."""
    for group, token in product((image_group(), make_group()), ("<|video_pad|>", "<|image_pad|>")):
        asked = replace(group.question, question=f"What is {token}?")
        with pytest.raises(SampleError, match="itself holds a vision token"):
            encode(any_policy, replace(group, question=asked))


@pytest.mark.parametrize("frozen", [True, False])
def test_packed_with_videos_each_is_read_as_transformers_reads_it(any_policy: Policy, frozen: bool) -> None:
    """An image between two videos in one row, against one plain forward for each."""
    prompts = [
        *encode(any_policy, make_group(side=56)),
        *encode(any_policy, image_group(side=84, seed=1)),
        *encode(any_policy, make_group(times=((2.0, 9.0),), side=32, seed=2)),
    ]
    model = any_policy.architecture.model_class.from_pretrained(any_policy.name, attn_implementation="eager")
    given = with_features(any_policy, prompts) if frozen else prompts
    with torch.no_grad():
        ours = logprobs(any_policy, given, [[said] for said in SAID], TEMPERATURE)
        for i, (prompt, said) in enumerate(zip(prompts, SAID, strict=True)):
            theirs = plain(any_policy, model.eval(), prompt, said)
            torch.testing.assert_close(ours[i][: len(said.ids)], theirs, rtol=1e-4, atol=1e-4)
