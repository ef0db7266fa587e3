"""Run the `mpserve` command as `python -m mpserve`."""

from mpserve.cli import main

if __name__ == "__main__":
    main()
