"""Fixtures of the trainer's tests: a tiny random model (`made.models`), groups of made-up views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from strive_data.schema import Question
from strive_rl.config import PolicySettings
from strive_rl.policy import Policy, load_policy
from strive_rl.schema import Group, View
from tests.strive_rl.made.models import ANSWERS, DENSE, SPECIAL, TINY_MODELS, save_tiny_qwen2_5_vl


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_qwen2_5_vl(tmp_path_factory.mktemp("tiny_model"))


@pytest.fixture(scope="session")
def tiny_policy(tiny_folder: Path) -> Policy:
    return load_policy(str(tiny_folder), PolicySettings(device="cpu"))


@pytest.fixture(scope="session", params=DENSE)
def any_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each architecture in turn."""
    return TINY_MODELS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def any_policy(any_folder: Path) -> Policy:
    return load_policy(str(any_folder), PolicySettings(device="cpu"))


@pytest.fixture(scope="session")
def answering(tiny_folder: Path) -> Callable[[Policy], Policy]:
    """Makes a policy of the tiny model say nothing but whole answers, one letter, or the end."""

    def only_answers(policy: Policy) -> Policy:
        allowed = policy.tokenizer.convert_tokens_to_ids([*ANSWERS, "x", SPECIAL["eos_token"]])
        suppressed = torch.ones_like(policy.suppressed)
        suppressed[allowed] = False
        return replace(policy, suppressed=suppressed)

    return only_answers


@pytest.fixture(scope="session")
def make_group() -> Callable[..., Group]:
    return group


def group(
    sample_id: str = "q1",
    times: tuple[tuple[float, ...], ...] = ((0.5, 1.0, 4.0, 9.5),),
    side: int = 28,
    seed: int = 0,
) -> Group:
    """A group with one view for each tuple of times, its frames random squares of `side` pixels."""
    generator = np.random.default_rng(seed)
    views = tuple(
        View(
            frames=generator.integers(0, 256, (len(each), side, side, 3), dtype=np.uint8),
            times=np.array(each, dtype=np.float64),
        )
        for each in times
    )
    question = Question(
        sample_id=sample_id,
        video="v.mp4",
        question="Which?",
        answer="A",
        problem_type="multiple choice",
        options=("A. red", "B. blue"),
    )
    return Group(question=question, views=views)
