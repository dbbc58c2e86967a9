"""What a run would do and need, before it starts (`train --dry-run`): its memory, its plan, advice."""
