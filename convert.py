"""Published Mimi weights to a folder for mimi_mlx: ``python convert.py --help``."""

import sys

from mimi_mlx.cli import main

if __name__ == "__main__":
    sys.exit(main(["convert", *sys.argv[1:]]))
