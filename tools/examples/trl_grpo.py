"""GRPO by TRL on the frames that STRIVE chose, with STRIVE's reward (the extra [trl]).

    strive-data export shards --to trl --out frames \\
        --instruction "Reason in <think></think>, then answer in <answer></answer>."
    python -m tools.examples.trl_grpo --data frames --model Qwen/Qwen2.5-VL-3B-Instruct --out trained

A row is one variant of a question, so a group of TRL is the completions of one variant: GRPO, with frames
that matter and more than one view of each question. STRIVE's own advantage compares the completions of all
variants of a question; `strive-rl train` has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import datasets
import torch
import typer
from trl import GRPOConfig, GRPOTrainer

from strive_rl.algorithm import Question, reward_of


def strive_reward(
    completions: Sequence[Sequence[dict[str, str]]],
    solution: Sequence[str],
    problem_type: Sequence[Any],
    options: Sequence[Sequence[str]],
    sample_id: Sequence[str],
    **_: object,
) -> list[float]:
    """0.9·accuracy + 0.1·format of each completion; TRL gives the columns of its row by name."""
    rewards = []
    for turns, answer, kind, choices, name in zip(
        completions, solution, problem_type, options, sample_id, strict=True
    ):
        question = Question(
            sample_id=name,
            video="",
            question="",
            answer=answer,
            problem_type=kind,
            options=tuple(choices),
        )
        rewards.append(reward_of(turns[-1]["content"], question).total)
    return rewards


def main(
    data: Annotated[str, typer.Option(help="Folder of strive-data export --to trl.")],
    model: Annotated[str, typer.Option(help="Name or folder of a vision language model.")],
    out: Annotated[Path, typer.Option(help="Folder for the trained model.")],
    steps: int = 100,
    completions: int = 8,
    max_new_tokens: int = 256,
) -> None:
    """Train, write the model, and print the reward of each step."""
    config = GRPOConfig(
        output_dir=str(out),
        max_steps=steps,
        per_device_train_batch_size=completions,
        num_generations=completions,
        max_completion_length=max_new_tokens,
        learning_rate=1e-5,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        bf16=torch.cuda.is_available(),
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=strive_reward,
        args=config,
        train_dataset=datasets.load_dataset(data, split="train"),
    )
    trainer.train()
    trainer.save_model(str(out))
    for record in trainer.state.log_history:
        if "reward" in record:
            print(f"step {record['step']}  reward {record['reward']:.3f}  loss {record['loss']:.4f}")


if __name__ == "__main__":
    typer.run(main)
