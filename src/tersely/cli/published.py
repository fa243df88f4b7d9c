"""``tersely card`` and ``tersely push``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tersely.cli.frame import messages, plain_errors, show
from tersely.cli.offline import go_outward

if TYPE_CHECKING:
    from tersely.flows.published import ModelFile

Checkpoint = Annotated[
    int | None,
    typer.Option(min=0, help="The checkpoint of this step. Default: the newest."),
]


def card(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    checkpoint: Checkpoint = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Model folder to write README.md into, such as a merged one. "
            "Default: the checkpoint's."
        ),
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(help="OWNER/NAME of the base on the hub. Default: as its folder tells it."),
    ] = None,
    license_: Annotated[
        str | None,
        typer.Option("--license", help="Licence of the base. Default: as its own card tells it."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a README.md that somebody wrote or changed.")
    ] = False,
) -> None:
    """Write a Hugging Face model card beside a checkpoint: recipe, data, figures with intervals."""
    from tersely.flows.published import check_model, find_checkpoint
    from tersely.report.pages.card import write_card

    with plain_errors():
        step, folder = find_checkpoint(run, checkpoint)
        folder = out or folder
        check_model(folder)
        file = write_card(
            run, step=step, folder=folder, base_model=base_model, licence=license_, force=force
        )
        show(f"card: {file}", {"card": str(file), "checkpoint": step})


def push(
    run: Annotated[
        Path, typer.Argument(help="Run folder, or a model folder such as a merged one.")
    ],
    repo_id: Annotated[str, typer.Argument(help="OWNER/NAME of the repository on the hub.")],
    checkpoint: Checkpoint = None,
    private: Annotated[
        bool, typer.Option("--private", help="The repository is private, and made if need be.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option(help="Branch to upload to, made if need be. Default: main.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the files with their sizes, and stop.")
    ] = False,
) -> None:
    """Upload a checkpoint to the Hugging Face hub: weights, tokenizer, card; no trainer's state."""
    go_outward()
    from tersely.flows import published

    with plain_errors():
        published.check_repository(repo_id)
        if revision is not None:
            published.check_revision(revision)
        folder = published.find_model(run, checkpoint)
        _show_files(published.list_files(folder), folder, repo_id, revision)
        if dry_run:
            messages.print("nothing was uploaded (--dry-run)")
            return
        message = f"Upload {folder.name} with tersely"
        address = published.push(
            folder, repo_id, private=private, revision=revision, message=message
        )
        show(f"uploaded: {address}", {"uploaded": address})


def _show_files(files: "list[ModelFile]", folder: Path, repo_id: str, revision: str | None) -> None:
    total = sum(file.size_bytes for file in files)
    lines = [f"{file.size_bytes:>15,}  {file.name}" for file in files]
    to = f"{repo_id} ({revision})" if revision else repo_id
    lines.append(f"{total:>15,}  bytes in {len(files)} files of {folder} to {to}")
    facts = {"folder": str(folder), "repository": repo_id, "revision": revision, "bytes": total}
    show("\n".join(lines), {**facts, "files": {file.name: file.size_bytes for file in files}})
