"""`python -m gfopt` is `gfopt`."""

from gfopt.cli import main

if __name__ == "__main__":
    main()
