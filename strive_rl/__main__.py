"""`python -m strive_rl`, and the command `strive-rl`."""

from strive_data.common.signals import answer_signals


def main() -> None:
    """Entry point: signals have an answer before the command line is imported."""
    answer_signals()
    from strive_rl.cli import main as run

    run()


if __name__ == "__main__":
    main()
