"""The rollouts of a step: its questions, sampled and rewarded; with dynamic sampling, further questions too.

Dynamic sampling (DAPO, arXiv 2503.14476, section 3.2): for each question without a completion to learn
(`groups.learned`), damaged, or without a prompt, a step takes a new one of the stream, until
`data.questions_per_step` are informative or `rollout.dynamic_sampling_rounds` is reached. The cursor moves
over every question taken, so an epoch still takes each question once.

Differs from the paper: DAPO draws whole batches and discards the surplus; here every informative question is
learned. Like every filter on outcomes it changes the objective: a question counts by the probability that its
completions differ.
"""

from __future__ import annotations

from collections.abc import Sequence

from strive_data.common.text import plural
from strive_data.errors import StriveError
from strive_rl.common import distributed
from strive_rl.common.profiling import Stopwatch
from strive_rl.common.progress import phase
from strive_rl.data import Cursor
from strive_rl.policy import NotFiniteError, Sampling
from strive_rl.rollout.groups import encode_groups, learned, newest_weights, reward_groups, sample_groups
from strive_rl.schema import Group
from strive_rl.train.metrics import StepStats
from strive_rl.train.state import TrainState


def collect(run: TrainState, watch: Stopwatch) -> tuple[list[Group], StepStats, Cursor]:
    """This process's rewarded groups of the next step in the order of the stream, what the record says of the
    questions left out, and the cursor after the questions of all processes; all must call it.

    Raises StriveError where the policy's probabilities are not finite, and where no question can be used.
    """
    made: list[Group] = []
    stats, after, found, step = StepStats(), run.cursor, 0, run.step + 1
    wanted, limit = run.settings.data.questions_per_step, run.settings.rollout.dynamic_sampling_rounds
    with newest_weights(run.engine, run.policy, run.step):
        while True:
            phase("reading questions")
            groups, broken, after = run.loader.take(after, wanted - found)
            watch.lap("data")
            phase(f"encoding {plural(len(groups), 'question')}")
            encoded, skipped = encode_groups(run.policy, groups)
            watch.lap("encode")
            sampled = _sampled(run, encoded, step)
            phase(f"rewarding {plural(len(sampled), 'question')}")
            rewarded, unrewarded, calls = reward_groups(sampled, run.rules, step=step)
            watch.lap("rollout")
            made += rewarded
            stats.broken += broken
            stats.dropped += skipped + unrewarded
            stats.calls += calls
            informative = sum(learned(group, run.settings.algorithm).any() for group in rewarded)
            found += sum(distributed.all_gather(int(informative)))
            if found >= wanted or stats.rounds == limit:
                break
            stats.rounds += 1
    # A wrong setting, since one bad question is skipped.
    reasons = distributed.all_gather_list([each.reason for each in (*stats.broken, *stats.dropped)])
    if not any(distributed.all_gather(len(made))):
        count = plural(len(reasons), "question")
        distributed.stop(f"step {step}: none of {count} can be used; the first is {reasons[0]}")
    return made, stats, after


def _sampled(run: TrainState, groups: Sequence[Group], step: int) -> list[Group]:
    """The groups with their completions. An error about probabilities names the step and the questions."""
    rollout = run.settings.rollout
    sampling = Sampling(
        completions=rollout.completions,
        max_new_tokens=rollout.max_new_tokens,
        temperature=rollout.temperature,
    )
    try:
        return sample_groups(run.policy, groups, sampling, run.settings.seed, run.engine)
    except NotFiniteError as error:
        ids = ", ".join(group.question.sample_id for group in groups)
        raise StriveError(
            f"step {step}: {error} Questions of this pass: {ids}; train again with a lower optim.lr"
        ) from error
