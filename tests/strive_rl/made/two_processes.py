"""Runs of tiny models that the tests take in one process and in two.

`torchrun … -m tests.strive_rl.made.two_processes FOLDER TASK …` does these tasks, one after the other in one
start of Python. FOLDER has shards/ and the models. A task is `RUN:OUT`, a new run into FOLDER/OUT, or
`RUN:OUT:STEPS:FROM`, a copy of FOLDER/FROM resumed up to so many steps. Errors go to FOLDER/OUT.RANK.txt.
"""

from __future__ import annotations

import shutil
import sys
import zlib
from pathlib import Path

import torch

from strive_data.common.settings import load
from strive_data.errors import StriveError
from strive_data.schema import Question
from strive_data.shards.reader import ShardSet
from strive_rl.common import distributed
from strive_rl.config import TrainSettings
from strive_rl.train.state import open_run
from strive_rl.train.trainer import fit

COMMON = (
    "policy.device=cpu",
    "policy.groups_per_pass=8",
    "data.questions_per_step=4",
    "rollout.completions=4",
    "rollout.max_new_tokens=5",
    "reward.function=tests.strive_rl.made.two_processes:by_hash",
    "algorithm.loss=dr_grpo",
    "optim.lr=1e-3",
    "steps=4",
    "save_every=2",
)
# Model and settings of each run. Together: every loss, one pass or many, with questions for all
# processes, for one of them only, and for none in some parts; every kind of weights and of memory setting.
RUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "plain": ("tiny", ()),
    "uneven": (
        "tiny",
        (
            "data.questions_per_step=3",
            "policy.groups_per_pass=1",
            "algorithm.minibatches=2",
            "algorithm.epochs_per_rollout=2",
            "algorithm.loss=dapo",
        ),
    ),
    "one_question": (
        "tiny",
        ("data.questions_per_step=1", "algorithm.loss=gspo", "rollout.completions=8", "steps=2"),
    ),
    "reference": (
        "tiny",
        ("algorithm.kl_beta=0.1", "algorithm.loss=grpo", "algorithm.epochs_per_rollout=2", "steps=2"),
    ),
    "lora": (
        "tiny",
        ("policy.lora_rank=4", "algorithm.kl_beta=0.1", "steps=2"),
    ),
    "tower": ("tiny3", ("policy.train_vision=true", "policy.gradient_checkpointing=true", "steps=2")),
    "dynamic_sampling": (
        "tiny3",
        ("rollout.dynamic_sampling_rounds=2", "policy.logits_chunk_tokens=4", "steps=2"),
    ),
    # Linear attention and experts.
    "hybrid": ("tiny3_5", ("policy.gradient_checkpointing=true", "steps=2")),
    # Experts in a tower with deepstack.
    "experts": ("tiny3_moe", ("steps=2",)),
    "bfloat16": ("tiny", ("policy.dtype=bfloat16", "steps=2")),
    "not_a_number": ("tiny", ()),
    "infinite": ("tiny", ()),
    "bad_reward": ("tiny", ("reward.function=tests.strive_rl.made.two_processes:fails_on_second",)),
    "too_long": ("tiny", ("policy.max_prompt_tokens=50",)),
}

HALVES = {"uneven": 2, "lora": 1, "hybrid": 1, "experts": 1}
RUNS |= {f"{name}_half": (RUNS[name][0], (*RUNS[name][1], f"steps={half}")) for name, half in HALVES.items()}


def by_hash(text: str, question: Question) -> dict[str, float]:
    """A reward that any text has a chance of, equal wherever the text is."""
    return {"accuracy": float(zlib.crc32(text.encode()) % 3 == 0)}


def fails_on_second(text: str, question: Question) -> dict[str, float]:
    """What a user's function may do: fail where only one process sees it."""
    if distributed.rank() == 1:
        raise KeyError(question.sample_id)
    return by_hash(text, question)


def settings(run: str, *changes: str) -> TrainSettings:
    return load(TrainSettings, assignments=(*COMMON, *RUNS[run][1], *changes))


def do(folder: Path, task: str) -> None:
    run, out, *more = task.split(":")
    steps, source = (*more, "", "")[:2]
    if source and distributed.is_first():
        shutil.copytree(folder / source, folder / out)
    distributed.barrier()
    given = settings(run, *([f"steps={steps}"] if steps else []))
    data = ShardSet.open(str(folder / "shards"))
    model = str(folder / RUNS[run][0])
    made = open_run(folder / out, shards=data, model=model, settings=given, resume=bool(steps))
    if distributed.rank() == 1 and run in BREAKING:
        BREAKING[run](made.policy.model.model.language_model.norm)
    try:
        fit(made, lambda record, steps: None)
    except StriveError as error:
        (folder / f"{out}.{distributed.rank()}.txt").write_text(f"{type(error).__name__}: {error}")


def lose_numbers(norm: torch.nn.Module) -> None:
    """The last states of the update are not numbers; those of sampling are."""
    norm.register_forward_hook(
        lambda module, inputs, states: states * float("nan") if torch.is_grad_enabled() else states
    )


def explode(norm: torch.nn.Module) -> None:
    """The gradient is infinite."""
    norm.register_full_backward_hook(
        lambda module, inputs, outputs: tuple(each * float("inf") for each in inputs)
    )


# What goes wrong in the second process alone.
BREAKING = {"not_a_number": lose_numbers, "infinite": explode}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with distributed.processes(timeout_minutes=2):
        for each in sys.argv[2:]:
            do(Path(sys.argv[1]), each)
