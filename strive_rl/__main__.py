"""`python -m strive_rl`."""

from strive_rl.cli import main

if __name__ == "__main__":
    main()
