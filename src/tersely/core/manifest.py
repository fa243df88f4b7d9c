"""A run's identity: what it was made from, so that a resume can refuse anything else."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from tersely.core.errors import ConfigError

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


def check_same(here: Manifest, there: Manifest, *, folder: Path) -> None:
    """Refuses to go on with a run that was made from something else, naming the difference."""
    for key in sorted(here.identity.keys() | there.identity.keys()):
        ours, theirs = here.identity.get(key), there.identity.get(key)
        if ours != theirs:
            raise ConfigError(
                f"cannot resume {folder}: {key} is {ours} here and {theirs} there; "
                "start anew in another folder or restore what changed"
            )
