"""The model that made codes, by what their file says of it: it alone can decode them."""

import argparse
import contextlib
import re
import textwrap

from ..checkpoint import hub
from ..codefile import Header
from ..mimi import Mimi
from ..tiny import EARLIER
from . import options


def model_of(args: argparse.Namespace, source: object, header: Header) -> str:
    """The model that is asked for, or that the file names: what it names is not downloaded.

    Raises:
        ValueError: It names one that is not here.
    """
    named = header.metadata.get("model")
    if args.model or named is None:
        return args.model or options.MODEL
    # The last part of a path, as files have it, or a Hub id; no way through other folders.
    if _is_hub_id(named) or (isinstance(named, str) and re.fullmatch(r"[\w -][\w. -]*", named)):
        with contextlib.suppress(ValueError):  # what is here of that name is no model
            if named == options.MODEL or hub.on_disk(named):
                return named
    if args.force_model:
        return options.MODEL
    raise ValueError(
        f"{source} was encoded by {_short(named)} (fingerprint {header.fingerprint}), which is "
        f"not here. Give --model {named if _is_hub_id(named) else 'and where it is'}."
    )


def check(args: argparse.Namespace, source: object, header: Header, mimi: Mimi) -> None:
    """Codes mean nothing to another model.

    Raises:
        ValueError: ``mimi`` is another one, and that is not forced.
    """
    if args.force_model or header.may_be_of(mimi):
        return
    if header.fingerprint in EARLIER:
        raise ValueError(
            f"{source} was encoded by the tiny of an earlier version (fingerprint "
            f"{header.fingerprint}). tiny changed with this one, and to {args.model} "
            f"({mimi.fingerprint}) those codes mean something else. Encode the sound again."
        )
    maker = header.metadata.get("model")
    # What a stranger's file says is recommended only where it is a name to look up.
    known = maker == "tiny" or _is_hub_id(maker)
    raise ValueError(
        f"{source} was encoded by {_short(maker or 'a model')} (fingerprint "
        f"{header.fingerprint}), and {args.model} is another ({mimi.fingerprint}); only the "
        f"first can decode it. Give --model {maker if known else 'with that fingerprint'}, or "
        "--force-model to decode it nevertheless."
    )


def _is_hub_id(name: object) -> bool:
    return isinstance(name, str) and bool(hub.HUB_ID.fullmatch(name))


def _short(name: object) -> str:
    return textwrap.shorten(str(name), 80)
