"""`python -m strive_data`, and the command `strive-data`."""

from strive_data.common.signals import answer_signals


def main() -> None:
    """Entry point: signals have an answer before the command line is imported."""
    answer_signals()
    from strive_data.cli import main as run

    run()


if __name__ == "__main__":
    main()
