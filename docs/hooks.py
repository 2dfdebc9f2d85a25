"""What the site has beside its pages: the commands' own help. MkDocs calls the functions."""

import contextlib
import io
import os
import re
from typing import Any
from unittest import mock

from mimi_mlx import cli

_HELP = re.compile(r"<!-- help: (\w+) -->")
_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):(?=<code>)")  # of Sphinx, in docstrings


def help_of(command: str) -> str:
    """What ``mimi-mlx COMMAND --help`` prints, 80 columns wide and without colours."""
    printed = io.StringIO()
    narrow = mock.patch.dict(os.environ, COLUMNS="80", NO_COLOR="1")
    with narrow, contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        cli.parse([command, "--help"])
    return printed.getvalue()


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A command's help for each mark ``<!-- help: COMMAND -->``."""
    return _HELP.sub(lambda mark: f"```text\n{help_of(mark[1])}```", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Names in docstrings without what they are."""
    return _ROLE.sub("", html)
