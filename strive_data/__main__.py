"""`python -m strive_data`."""

from strive_data.cli import main

if __name__ == "__main__":
    main()
