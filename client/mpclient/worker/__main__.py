"""Run the `mpworker` command as `python -m mpclient.worker`."""

from mpclient.worker.cli import main

if __name__ == "__main__":
    main()
