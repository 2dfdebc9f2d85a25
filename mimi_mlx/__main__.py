"""``python -m mimi_mlx``: the command line."""

import sys

from mimi_mlx_command import main

sys.exit(main())
