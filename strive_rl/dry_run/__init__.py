"""What a run would do and need, before it starts (`train --dry-run`).

shape   what of a model's config they depend on
memory  tokens and bytes of a step, from the settings and a model's config
plan    the same as text, with the work of a step and what to change
"""

from strive_rl.dry_run.plan import GIB, Plan, plan, plan_text

__all__ = ["GIB", "Plan", "plan", "plan_text"]
