"""What of a run can be published: a checkpoint as a model folder, and its way to the hub."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tersely.core.digests import DIGESTS_FILE, check_digests
from tersely.core.errors import ConfigError, EngineError, TerselyWarning, no_checkpoint, shortened
from tersely.core.extras import refuse_absent
from tersely.core.parsing import parse_json

CARD = "README.md"
# What a trainer needs to go on, and nobody who uses the model.
_STATE = re.compile(
    r"(optimizer|scheduler|scaler|rng_state|trainer_state|training_args|pytorch_model_fsdp|state|"
    r"tersely)[\w.-]*\.(pt|pth|bin|json)|zero_to_fp32\.py|latest|.*\.tmp"
)
_STATE_FOLDERS = re.compile(r"(global_step|optimizer_|pytorch_model_fsdp_)\d+|\..*")
# What git allows nowhere in the name of a branch.
_NO_BRANCH = re.compile(r"^$|[\s\x00-\x1f\x7f~^:?*\[\\]|\.\.|@\{|(^|/)(\.|/|$)|(\.|\.lock)(/|$)")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


class ModelFile(NamedTuple):
    """A file of a model folder, by its name in it."""

    name: str
    size_bytes: int


def checkpoints_of(run: Path) -> dict[int, Path]:
    """The model folders of a run's checkpoints by step, whoever trained: our loop, TRL or verl."""
    found = {}
    for folder in sorted((run / "checkpoints").glob("*")):
        own = re.fullmatch(r"step-(\d{6,})", folder.name)
        verl = re.fullmatch(r"global_step_(\d+)", folder.name)
        if own:
            found[int(own[1])] = folder
        elif verl:
            found[int(verl[1])] = folder / "actor" / "huggingface"
        elif (note := folder / "tersely.json").is_file():  # written once TRL's is whole
            found[int(parse_json(note.read_bytes())["step"])] = folder
    return dict(sorted(found.items()))


def find_checkpoint(run: Path, step: int | None) -> tuple[int, Path]:
    """The step and the model folder of a run's newest checkpoint, or of that of a step.

    Raises:
        ConfigError: there is none.
    """
    found = checkpoints_of(run)
    if not found:
        raise ConfigError(f"{run} holds no checkpoint of a run; give a run folder")
    if step is not None and step not in found:
        said = no_checkpoint(step, run / "checkpoints", found)
        raise ConfigError(said.replace("--resume-from", "--checkpoint"))
    chosen = max(found) if step is None else step
    return chosen, found[chosen]


def find_model(place: Path, step: int | None) -> Path:
    """A model folder itself, or that of a run's checkpoint, as ``find_checkpoint``; a card that is
    not there is a warning.

    Raises:
        ConfigError: as ``find_checkpoint`` and ``check_model``.
    """
    if (place / "config.json").is_file() and step is not None:
        raise ConfigError(f"{place} is a model folder, without checkpoints; leave --checkpoint out")
    folder = place if (place / "config.json").is_file() else find_checkpoint(place, step)[1]
    check_model(folder)
    if not (folder / CARD).is_file():
        warnings.warn(
            f"{folder} holds no {CARD}; tersely card writes one", TerselyWarning, stacklevel=2
        )
    return folder


def check_model(folder: Path) -> None:
    """Refuses a folder that nobody could load a model from, or whose files were damaged.

    Raises:
        ConfigError: there is no configuration, or there are no whole weights.
        DataError: a file is not as it was written.
    """
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder} is no model folder (no config.json); give one, or a run")
    if not any(file for pattern in _WEIGHTS for file in folder.glob(pattern)):
        raise ConfigError(
            f"{folder} holds no whole weights; merge its shards (python -m verl.model_merger, or "
            "accelerate merge-weights) and give the merged folder"
        )
    check_digests(folder)


def list_files(folder: Path) -> list[ModelFile]:
    """What of a model folder is published: all but a trainer's state and hidden files."""

    def walk(inside: Path) -> Iterator[Path]:
        for path in sorted(inside.iterdir()):
            if path.is_dir() and not _STATE_FOLDERS.fullmatch(path.name):
                yield from walk(path)
            elif path.is_file() and path.name != DIGESTS_FILE and path.name[0] != ".":
                yield path

    kept = [file for file in walk(folder) if not _STATE.fullmatch(file.name)]
    return [ModelFile(str(file.relative_to(folder)), file.stat().st_size) for file in kept]


def check_repository(repo_id: str) -> None:
    """ConfigError unless the hub could have a repository of that name."""
    refuse_absent("huggingface_hub", what="tersely push", extra="train")
    check_repo_id(repo_id)
    if repo_id.count("/") != 1:
        raise ConfigError(f"{repo_id!r} is no repository of the hub; give OWNER/NAME")


def check_repo_id(repo_id: str, *, where: str = "") -> None:
    """ConfigError unless the name is one that the hub allows, with or without an owner."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        said = shortened(str(error).split(". ")[0])
        raise ConfigError(
            f"{where}{repo_id!r} is no repository of the hub ({said}); give OWNER/NAME"
        ) from error


def check_revision(revision: str) -> None:
    """ConfigError unless git allows the name for a branch."""
    if revision == "@" or revision.startswith("-") or _NO_BRANCH.search(revision):
        raise ConfigError(
            f"--revision {revision!r} is no name of a branch; write letters, digits, dots, dashes "
            "and single slashes, such as short-v1"
        )


def push(
    folder: Path,
    repo_id: str,
    *,
    private: bool,
    revision: str | None,
    message: str,
) -> str:
    """Uploads a model folder with ``huggingface_hub``; the address of what was uploaded.

    Args:
        private: the repository must be, also where it is there already.
        revision: a branch, which is made if need be; None: the main one.
    Raises:
        ConfigError: nobody is logged in, or the repository is public and was to be private.
        EngineError: the hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

    if get_token() is None:
        raise ConfigError("there is no token for the hub; run hf auth login, or set HF_TOKEN")
    api = HfApi(library_name="tersely")
    try:
        return _upload(api, folder, repo_id, private=private, revision=revision, message=message)
    except OfflineModeIsEnabled as error:
        raise ConfigError("HF_HUB_OFFLINE is set, so nothing can be uploaded; unset it") from error
    except HfHubHTTPError as error:
        said = error.server_message or shortened(" ".join(str(error).split()))
        status = error.response.status_code if error.response is not None else "?"
        raise EngineError(f"the hub refused {repo_id} ({status}): {said}") from error
    except (HTTPError, OSError, ValueError) as error:  # not there, or it answers something else
        said = shortened(str(error) or type(error).__name__)
        raise EngineError(f"the upload to the hub at {api.endpoint} failed: {said}") from error


def _upload(
    api: Any, folder: Path, repo_id: str, *, private: bool, revision: str | None, message: str
) -> str:
    api.create_repo(repo_id, private=True if private else None, exist_ok=True)
    if private and not api.repo_info(repo_id).private:
        raise ConfigError(
            f"{repo_id} is there already and public; make it private in its settings, or leave "
            "--private out"
        )
    if revision is not None:
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    done = api.upload_folder(
        repo_id=repo_id,
        folder_path=folder,
        revision=revision,
        commit_message=message,
        allow_patterns=[file.name for file in list_files(folder)],
    )
    return str(done.commit_url)
