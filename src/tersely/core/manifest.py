"""A run's identity: what it was made from, so that a resume can refuse anything else."""

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tersely.core.errors import ConfigError, TerselyWarning

MANIFEST_SCHEMA = 1
FILE = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Written once when a run starts.

    ``identity`` must be equal on resume (model, problems, seed digests); ``facts`` are for the
    reader (date, command, versions, machine).
    """

    identity: dict[str, str]
    facts: dict[str, str]
    schema: int = MANIFEST_SCHEMA


def write_atomically(path: Path, text: str) -> None:
    """The whole text or nothing, also when killed or when the machine goes down."""
    scratch = path.with_name(path.name + ".tmp")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes ``manifest.json`` into the run folder."""
    write_atomically(folder / FILE, json.dumps(asdict(manifest), indent=2) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """The run folder's manifest.

    Raises:
        ConfigError: there is none, or it is of another schema.
    """
    path = folder / FILE
    if not path.is_file():
        raise ConfigError(f"{folder} holds no {FILE}; choose another folder")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is damaged ({error}); choose another folder") from error
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), dict) for key in ("identity", "facts")
    ):
        raise ConfigError(f"{path} is no manifest of tersely; choose another folder")
    if content.get("schema") != MANIFEST_SCHEMA:
        raise ConfigError(
            f"{path} has schema {content.get('schema')}, this version reads {MANIFEST_SCHEMA}; "
            "use the tersely version that wrote it"
        )
    return Manifest(**content)


# Recorded since later than the others; a run without them was begun before.
LATER_KEYS = frozenset(
    {
        "rendered prompts digest",
        "stop tokens (generation_config.json) digest",
        "other weight files (.bin, indices, adapters) digest",
        "other tokenizer files digest",
        "model code (.py) digest",
        "tokenizer and chat template digest",
        "--tokenizer digest",
    }
)
_CAUSES = {
    "rendered prompts digest": (
        "; where no file of the model changed, its chat template writes something of its own into "
        "prompts, such as today's date: give the template a fixed text"
    ),
}


def check_same(here: Manifest, there: Manifest, *, folder: Path) -> tuple[str, ...]:
    """Refuses to go on with a run that was made from something else, naming the difference.

    Returns:
        What the run does not have on record, because it was begun by an earlier version, and
        what is therefore not compared.

    Raises:
        ConfigError: the two differ.
    """
    unknown = tuple(sorted(LATER_KEYS & here.identity.keys() - there.identity.keys()))
    keys = here.identity.keys() | there.identity.keys()
    # Prompts follow from the files, so a file that differs is named first.
    for key in sorted(keys - {*unknown}, key=lambda key: (key in _CAUSES, key)):
        ours, theirs = here.identity.get(key), there.identity.get(key)
        if ours != theirs:
            raise ConfigError(
                f"cannot resume {folder}: {key} is {ours} here and {theirs} there"
                f"{_CAUSES.get(key, '')}; start anew in another folder or restore what changed"
            )
    return unknown


def say_uncompared(keys: Sequence[str], *, folder: Path) -> None:
    """Warns of what an earlier version did not keep on record when the run was begun."""
    if keys:
        warnings.warn(
            f"{folder} was begun by an earlier version of tersely, which kept no "
            f"{', '.join(keys)}: whether these changed since is not known",
            TerselyWarning,
            stacklevel=2,
        )
