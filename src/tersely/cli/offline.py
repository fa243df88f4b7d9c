"""Nothing is loaded from a hub but where a command is for that: the environment says so."""

import os

_OFFLINE = "HF_HUB_OFFLINE"
# Whoever sets it means every command.
_ASKED = _OFFLINE in os.environ
os.environ.setdefault(_OFFLINE, "1")


def outward() -> dict[str, str]:
    """The environment of processes that may reach a hub, unless the user forbids it."""
    return {key: value for key, value in os.environ.items() if _ASKED or key != _OFFLINE}


def go_outward() -> None:
    """Lets this process reach a hub, before a library looks whether it may."""
    if not _ASKED:
        os.environ.pop(_OFFLINE, None)
