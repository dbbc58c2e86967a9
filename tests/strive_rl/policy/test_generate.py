"""Sampling: agreement with the training pass, the distribution, the end, and what is never sampled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from strive_data.errors import StriveError
from strive_rl.config import PolicySettings
from strive_rl.policy import (
    Policy,
    Prompt,
    Sampling,
    encode,
    load_policy,
    logprobs,
    sample,
    with_features,
)
from strive_rl.policy.architectures.qwen_vl import Qwen25VL
from strive_rl.policy.generate import PACE, RngKey, pick
from strive_rl.policy.logprobs import mask, sampled_logprobs
from tests.strive_rl.made.groups import make_group

GOLDEN = [0.867713861156389, 0.6105935386292665]


def test_numbers_follow_from_the_key_alone() -> None:
    few, many = RngKey(seed=3).uniforms(2, 5), RngKey(seed=3).uniforms(4, 9)
    np.testing.assert_array_equal(many[:2, :5], few)
    others = [RngKey(seed=4), RngKey(seed=3, epoch=1), RngKey(seed=3, position=1), RngKey(seed=3, variant=1)]
    rows = [row.tobytes() for key in (RngKey(seed=3), *others) for row in key.uniforms(4, 5)]
    assert len(set(rows)) == 20


def test_numbers_are_uniform_golden_and_below_one() -> None:
    numbers = RngKey(seed=0).uniforms(20, 5000)
    assert 0 <= numbers.min() < numbers.max() < 1
    counts, _ = np.histogram(numbers, bins=100, range=(0, 1))
    assert ((counts - 1000) ** 2 / 1000).sum() < 100 + 5 * 200**0.5
    assert abs(np.corrcoef(numbers[:, :-1].ravel(), numbers[:, 1:].ravel())[0, 1]) < 0.02
    np.testing.assert_allclose(numbers[0, :2], GOLDEN, rtol=0, atol=1e-15)


def test_the_draw_is_the_inverse_of_the_cumulative_distribution() -> None:
    chances = torch.tensor([[0.0, 0.25, 0.0, 0.5, 0.25, 0.0]])
    numbers = torch.tensor([0.0, 0.2499, 0.25, 0.7499, 0.75, 1 - 2.0**-52], dtype=torch.float64)
    ids = pick(chances.expand(6, -1), numbers)
    assert ids.tolist() == [1, 1, 3, 3, 4, 4]


@pytest.mark.parametrize("vocabulary", [128, 384, 1000])
def test_blocks_do_not_change_the_draw(vocabulary: int) -> None:
    """Against one sum over all ids, of multiples of 2^-40, where both are exact: at random numbers, at the
    end of each id's share and just below it."""
    rng = np.random.default_rng(vocabulary)
    parts = rng.integers(0, 1 << 20, vocabulary) * (rng.random(vocabulary) < 0.5)
    parts[-1] = 0
    ends = np.cumsum(parts)
    shares = np.concatenate([rng.random(999), ends / ends[-1], (ends - 0.5) / ends[-1]])
    shares = np.floor(shares[(shares >= 0) & (shares < 1)] * 2.0**52) * 2.0**-52
    chances = torch.from_numpy((parts * 2.0**-40).astype(np.float32)).expand(len(shares), -1)
    wanted = shares * (ends[-1] * 2.0**-40)
    expected = np.searchsorted(ends * 2.0**-40, wanted, side="right")
    assert pick(chances, torch.from_numpy(shares)).tolist() == expected.tolist()


def test_probabilities_beside_which_float32_would_be_blind() -> None:
    """2^15 ids of 2^-26 behind one of nearly 1: each number lands where it should, to the id."""
    count = 1 << 15
    chances = torch.full((1, count + 1), 2.0**-26)
    chances[0, 0] = 1 - 2.0**-11
    for wanted in (1, 77, count):
        number = 1 - 2.0**-11 + (wanted - 0.5) * 2.0**-26
        assert pick(chances, torch.tensor([number], dtype=torch.float64)).item() == wanted


@pytest.fixture(scope="module")
def prompts(any_policy: Policy) -> list[Prompt]:
    """Four prompts of different lengths and grids, over hours, so that they are padded."""
    long = make_group(times=((0.5, 9.5), (1.0, 2.0, 3.0, 4.0, 3600.0, 9000.5), (0.0, 1.0, 2.0, 3.0)), side=60)
    prompts = encode(any_policy, long) + encode(any_policy, make_group(times=((5.0, 7200.0),), side=32))
    return with_features(any_policy, prompts)


def seeded(seed: int = 0, prompts: int = 4) -> list[RngKey]:
    return [RngKey(seed=seed, position=i) for i in range(prompts)]


def ending_at(policy: Policy, token: int) -> Policy:
    return replace(policy, end_ids=(token,))


def test_log_probabilities_are_those_of_the_training_pass(any_policy: Policy, prompts: list[Prompt]) -> None:
    sampling = Sampling(completions=3, max_new_tokens=12, temperature=1.3)
    answers = sample(any_policy, prompts, sampling, seeded())
    flat = [answer for group in answers for answer in group]
    with torch.no_grad():
        trained = logprobs(any_policy, prompts, answers, 1.3)
    torch.testing.assert_close(sampled_logprobs(flat), trained, rtol=0, atol=1e-4)


def test_cutting_into_passes_does_not_change_log_probabilities(
    any_policy: Policy, prompts: list[Prompt]
) -> None:
    """Greedy answers do not depend on what else is in the pass, nor on its padding."""
    sampling = Sampling(completions=1, max_new_tokens=10, greedy=True)
    together = sample(any_policy, prompts, sampling)
    one_by_one = replace(any_policy, settings=replace(any_policy.settings, prompts_per_pass=1))
    apart = sample(one_by_one, prompts, sampling)
    assert [[a.ids for a in group] for group in together] == [[a.ids for a in group] for group in apart]


def test_equal_keys_give_equal_completions_and_others_do_not(
    any_policy: Policy, prompts: list[Prompt]
) -> None:
    sampling = Sampling(completions=2, max_new_tokens=6)
    first = sample(any_policy, prompts, sampling, seeded(3))
    assert sample(any_policy, prompts, sampling, seeded(3)) == first
    assert sample(any_policy, prompts, sampling, seeded(4)) != first


def test_first_tokens_follow_the_distribution(any_policy: Policy, prompts: list[Prompt]) -> None:
    """Chi-square of 4,000 first tokens against their log-probabilities, over the ids expected 20 times."""
    draws = 4000
    (answers,) = sample(
        any_policy, prompts[:1], Sampling(completions=draws, max_new_tokens=1), seeded(prompts=1)
    )
    chances = {answer.ids[0]: torch.tensor(answer.logprobs[0]).exp().item() for answer in answers}
    common = {token: chance for token, chance in chances.items() if chance * draws >= 20}
    assert len(common) >= 5
    counts = {token: sum(answer.ids[0] == token for answer in answers) for token in common}
    statistic = sum((counts[token] - draws * p) ** 2 / (draws * p) for token, p in common.items())
    assert statistic < len(common) + 4 * (2 * len(common)) ** 0.5


def test_rows_stop_after_their_end_token(any_policy: Policy, prompts: list[Prompt]) -> None:
    sampling = Sampling(completions=64, max_new_tokens=20)
    free = sample(ending_at(any_policy, -1), prompts[:1], sampling, seeded(prompts=1))[0]
    assert all(not answer.finished and len(answer.ids) == 20 for answer in free)
    tokens = [token for answer in free for token in answer.ids]
    token = max(set(tokens), key=tokens.count)
    stopped = sample(ending_at(any_policy, token), prompts[:1], sampling, seeded(prompts=1))[0]
    for answer, whole in zip(stopped, free, strict=True):
        if answer.finished:
            assert answer.ids == whole.ids[: whole.ids.index(token) + 1]
        else:
            assert answer.ids == whole.ids
        assert len(answer.logprobs) == len(answer.ids)
    assert any(answer.finished for answer in stopped)
    assert mask(stopped).sum() == sum(len(answer.ids) for answer in stopped)


@pytest.mark.parametrize(
    "pace",
    [(1, 1, 0.85), (7, 5, 0.85), (32, 1, 0.0), (32, 1, 1.0)],
    ids=["columns", "look", "no row leaves", "rows leave at once"],
)
def test_the_pace_of_decoding_does_not_change_tokens(
    any_policy: Policy, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch, pace: tuple[int, int, float]
) -> None:
    """Widths of a step, how often ends are checked, and whether ended rows leave."""
    sampling = Sampling(completions=12, max_new_tokens=20)
    free = sample(ending_at(any_policy, -1), prompts, sampling, seeded())
    tokens = [token for row in free for answer in row for token in answer.ids]
    policy = ending_at(any_policy, max(set(tokens), key=tokens.count))
    expected = sample(policy, prompts, sampling, seeded())
    assert len({len(answer.ids) for row in expected for answer in row}) > 4
    monkeypatch.setitem(PACE, "cpu", pace)
    given = sample(policy, prompts, sampling, seeded())
    assert [[a.ids for a in row] for row in given] == [[a.ids for a in row] for row in expected]


def test_ended_rows_are_not_computed(
    any_policy: Policy, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of each decode step, against those of a loop that keeps all to the end."""
    rows: list[int] = []
    embed = Policy.embed

    def counting(policy: Policy, ids: torch.Tensor) -> torch.Tensor:
        rows.append(ids.numel())
        return embed(policy, ids)

    sampling = Sampling(completions=12, max_new_tokens=20)
    free = sample(ending_at(any_policy, -1), prompts, sampling, seeded())
    tokens = [token for row in free for answer in row for token in answer.ids]
    monkeypatch.setattr(Policy, "embed", counting)
    common = sorted(set(tokens), key=tokens.count)[-12:]
    made = sample(replace(any_policy, end_ids=tuple(common)), prompts, sampling, seeded())
    decoded, needed = rows[1:], sum(len(answer.ids) - 1 for row in made for answer in row)
    assert decoded == sorted(decoded, reverse=True)
    assert needed <= sum(decoded) < 0.7 * 48 * len(decoded)


def test_suppressed_ids_are_never_sampled(any_policy: Policy, prompts: list[Prompt]) -> None:
    """Negative control: with nothing suppressed, at this temperature, such ids do come."""
    sampling = Sampling(completions=200, max_new_tokens=4, temperature=20.0)
    hidden = set(any_policy.suppressed.nonzero()[:, 0].tolist())
    (answers,) = sample(any_policy, prompts[:1], sampling, seeded(prompts=1))
    assert not hidden & {token for answer in answers for token in answer.ids}
    free = replace(any_policy, suppressed=torch.zeros_like(any_policy.suppressed))
    (answers,) = sample(free, prompts[:1], sampling, seeded(prompts=1))
    assert hidden & {token for answer in answers for token in answer.ids}


def test_the_entropy_is_the_mean_surprise(any_policy: Policy, prompts: list[Prompt]) -> None:
    """−log p of 4,000 first tokens, within four standard errors of their distribution's entropy."""
    draws = 4000
    (answers,) = sample(
        any_policy, prompts[:1], Sampling(completions=draws, max_new_tokens=1), seeded(prompts=1)
    )
    surprise = -torch.tensor([answer.logprobs[0] for answer in answers])
    (entropy,) = {answer.entropies[0] for answer in answers}
    assert abs(surprise.mean() - entropy) < 4 * surprise.std() / draws**0.5
    assert surprise.std() > 0.1
    (longer,) = sample(any_policy, prompts[:1], Sampling(completions=2, max_new_tokens=5), seeded(prompts=1))
    assert all(len(answer.entropies) == len(answer.ids) for answer in longer)


def test_probabilities_that_are_not_numbers_are_refused(tiny_folder: Path) -> None:
    policy = load_policy(str(tiny_folder), PolicySettings(device="cpu"))
    ready = with_features(policy, encode(policy, make_group()))
    with torch.no_grad():
        policy.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(StriveError, match="probabilities are not finite"):
        sample(policy, ready, Sampling(completions=2, max_new_tokens=3), seeded(prompts=1))
    with pytest.raises(ValueError, match="0 random keys for 1 prompts"):
        sample(policy, ready, Sampling(completions=2, max_new_tokens=3))


def test_greedy_completions_are_those_of_generate(any_policy: Policy, prompts: list[Prompt]) -> None:
    """transformers' own loop over its own cache, for models whose positions are transformers' too."""
    if isinstance(any_policy.architecture, Qwen25VL):
        pytest.skip("its positions are of true times")
    model = any_policy.architecture.model_class.from_pretrained(any_policy.name).eval()
    policy = ending_at(any_policy, -1)
    ours = sample(policy, prompts, Sampling(completions=2, max_new_tokens=12, greedy=True))
    hidden = policy.suppressed.nonzero()[:, 0].tolist()
    for prompt, row in zip(prompts, ours, strict=True):
        ids = torch.from_numpy(prompt.ids)[None]
        made = model.generate(
            input_ids=ids,
            pixel_values_videos=prompt.pixels,
            video_grid_thw=torch.tensor([prompt.grid]),
            mm_token_type_ids=torch.from_numpy(prompt.is_video)[None].int() * 2,
            max_new_tokens=12,
            do_sample=False,
            suppress_tokens=hidden,
            eos_token_id=[-1],
        )
        assert [answer.ids for answer in row] == [tuple(made[0, ids.shape[1] :].tolist())] * 2
