"""`python -m hafs NAME ...` is `hafs NAME ...`."""

from hafs.cli import main

if __name__ == "__main__":
    main()
