"""What a run would do and need, before it starts (`train --dry-run`).

shape       what of a model's config tokens and memory depend on; models.json has the published ones
memory      tokens and bytes of a step
train_plan  the same as text, with the work of a step
advice      which devices fit, and what each change would bring
"""

from strive_data.common.settings import as_toml
from strive_rl.dry_run.advice import advice
from strive_rl.dry_run.train_plan import GIB, Plan, amounts, plan

__all__ = ["GIB", "Plan", "plan", "plan_text"]


def plan_text(made: Plan) -> str:
    """Resolved settings as TOML, then their amounts as comments: the whole text can be a --config."""
    lines = [*amounts(made), "", *advice(made)]
    return as_toml(made.settings) + "\n" + "\n".join(f"# {line}".rstrip() for line in lines)
