"""vLLM against the policy: the same prompts, weights and distribution, for both architectures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from strive_data.errors import UsageError
from strive_rl.config import VLLM_MODELS, EngineSettings, PolicySettings
from strive_rl.policy import Policy, Prompt, RngKey, Sampling, encode, load_policy, logprobs, with_features
from strive_rl.policy import sample as builtin_sample
from strive_rl.policy.logprobs import sampled_logprobs
from strive_rl.policy.lora import plain_weights
from strive_rl.rollout.groups import RolloutEngine, load_engine
from strive_rl.schema import Completion
from tests.strive_rl.made.groups import make_group
from tests.strive_rl.made.models import save_wide

Loaded = tuple[Policy, RolloutEngine]

GREEDY = Sampling(completions=1, max_new_tokens=24, greedy=True)
DRAWN = Sampling(completions=4, max_new_tokens=16)
KEYS = [RngKey(seed=0, position=position) for position in range(4)]


@pytest.fixture(scope="module", params=sorted(VLLM_MODELS))
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = save_wide(tmp_path_factory.mktemp(request.param), request.param)
    policy = load_policy(str(folder), PolicySettings(device="cpu", max_prompt_tokens=2024))
    engine = load_engine(policy, EngineSettings(engine="vllm"), GREEDY.max_new_tokens)
    assert engine is not None
    return policy, engine


@pytest.fixture(scope="module")
def prompts(loaded: Loaded) -> list[Prompt]:
    """Uneven times up to an hour, two grids, and an image."""
    policy, _ = loaded
    image = make_group(times=((0.0,),), side=56, seed=2)
    image = replace(image, views=(replace(image.views[0], still=True),))
    far = make_group(times=((0.5, 1.0, 4.0, 9.5), (1.0, 2.0, 900.0, 904.0, 3600.0, 3700.5)), side=112)
    return [
        *encode(policy, far),
        *encode(policy, make_group(times=((30.0, 1800.0),), side=56, seed=1)),
        *encode(policy, image),
    ]


def ids(rows: list[list[Completion]]) -> list[list[tuple[int, ...]]]:
    return [[completion.ids for completion in row] for row in rows]


def test_greedy_tokens_are_the_builtin_loops(loaded: Loaded, prompts: list[Prompt]) -> None:
    policy, engine = loaded
    made = engine.sample(prompts, GREEDY)
    assert ids(made) == ids(builtin_sample(policy, with_features(policy, prompts), GREEDY))
    assert made[0][0].entropies == ()


def test_samples_have_the_trainers_log_probabilities(loaded: Loaded, prompts: list[Prompt]) -> None:
    policy, engine = loaded
    rows = engine.sample(prompts, replace(DRAWN, temperature=0.9), KEYS)
    assert len({completion.ids for row in rows for completion in row}) > 6
    with torch.no_grad():
        trained = logprobs(policy, prompts, rows, 0.9)
    drawn = sampled_logprobs([completion for row in rows for completion in row])
    torch.testing.assert_close(drawn, trained, rtol=0, atol=1e-4)


def test_features_give_what_pixels_give(loaded: Loaded, prompts: list[Prompt]) -> None:
    policy, engine = loaded
    from_pixels = engine.sample(prompts, GREEDY)
    engine.sync(plain_weights(policy.model, 1.0), 0)
    assert ids(engine.sample(with_features(policy, prompts), GREEDY)) == ids(from_pixels)


def test_a_batch_is_each_prompt_alone_and_keys_decide(loaded: Loaded, prompts: list[Prompt]) -> None:
    _, engine = loaded
    together = ids(engine.sample(prompts, DRAWN, KEYS))
    assert together == [ids(engine.sample([p], DRAWN, [k]))[0] for p, k in zip(prompts, KEYS, strict=True)]
    assert together != ids(engine.sample(prompts, DRAWN, [replace(key, seed=1) for key in KEYS]))


def test_other_positions_give_other_tokens(loaded: Loaded, prompts: list[Prompt]) -> None:
    """Negative control: evenly spaced times, as vLLM itself would have them."""
    policy, engine = loaded
    even = encode(policy, make_group(times=((0.5, 1.5, 2.5, 3.5), (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)), side=112))
    assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(even, prompts, strict=False))
    assert ids(engine.sample(even, GREEDY)) != ids(engine.sample(prompts[:2], GREEDY))


def test_seeded_prompts_may_exceed_the_tokens_of_a_batch(loaded: Loaded) -> None:
    """Some 6,000 tokens of prompts; in chunks they would rewind a generator, which the CPU's cannot."""
    policy, engine = loaded
    many = [encode(policy, make_group(times=((0.5, 1.0, 4.0, 9.5),), side=112, seed=i))[0] for i in range(30)]
    assert sum(len(prompt.ids) for prompt in many) > 5000
    keys = [RngKey(seed=0, position=position) for position in range(30)]
    short = Sampling(completions=2, max_new_tokens=3)
    made = ids(engine.sample(many, short, keys))
    assert [len(row) for row in made] == [2] * 30
    assert made[-1] == ids(engine.sample(many[-1:], short, keys[-1:]))[0]


def test_a_prompt_longer_than_the_model_is_refused(loaded: Loaded, prompts: list[Prompt]) -> None:
    _, engine = loaded
    with pytest.raises(UsageError, match=r"takes 2048; set policy\.max_prompt_tokens to 1 or less"):
        engine.sample(prompts, replace(GREEDY, max_new_tokens=4096))


def test_suppressed_ids_are_never_sampled(loaded: Loaded, prompts: list[Prompt]) -> None:
    """Negative control: with nothing suppressed such ids do come, at this temperature, vLLM's highest."""
    policy, engine = loaded
    hot = Sampling(completions=24, max_new_tokens=24, temperature=2.0)
    hidden = set(policy.suppressed.nonzero()[:, 0].tolist())
    (row,) = engine.sample(prompts[:1], hot, KEYS[:1])
    assert not hidden & {token for completion in row for token in completion.ids}
    free = replace(policy, suppressed=torch.zeros_like(policy.suppressed))
    (row,) = builtin_sample(free, prompts[:1], hot, KEYS[:1])
    assert hidden & {token for completion in row for token in completion.ids}


def test_after_a_sync_it_samples_from_the_new_weights(loaded: Loaded, prompts: list[Prompt]) -> None:
    """The last test: it moves the policy."""
    policy, engine = loaded
    before = ids(engine.sample(prompts, GREEDY))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for _, parameter in policy.trainable():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)
    expected = ids(builtin_sample(policy, with_features(policy, prompts), GREEDY))
    assert expected != before
    assert ids(engine.sample(prompts, GREEDY)) == before
    # Negative control: keys and values that the old weights made, under the new ones.
    engine._llm.collective_rpc(
        "reload_weights", kwargs={"weights_iterator": plain_weights(policy.model, 1.0)}
    )
    assert ids(engine.sample(prompts, GREEDY)) != expected
    engine.sync(plain_weights(policy.model, 1.0), 7)
    assert engine.version == 7
    assert ids(engine.sample(prompts, GREEDY)) == expected
