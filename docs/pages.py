"""What MkDocs is told beside ``mkdocs.yml``: pages that stand or are made elsewhere."""

import re
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
BESIDE = ("CONTRIBUTING.md", "LOG.md")
REWARDS = "<!-- every reward, by its docstring -->"


def on_files(files: Files, *, config) -> Files:
    """Adds the pages of the project that stand beside ``docs/``."""
    for name in BESIDE:
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, *, page, config, files) -> str:
    """Leads links out of ``docs/`` to those pages, and lists the rewards where they belong."""
    for name in BESIDE:
        markdown = markdown.replace(f"](../{name}", f"]({name}")
    return markdown.replace(REWARDS, "\n\n".join(map(describe, reward_names())))


def reward_names() -> list[str]:
    """The names of all rewards: the files of their folder."""
    files = (ROOT / "src" / "tersely" / "rewards").glob("[a-z]*.py")
    return sorted(file.stem for file in files)


def describe(name: str) -> str:
    """What mkdocstrings is asked for one reward: its formula, source and parameters."""
    summary = re.match(r'"""(.+?)\n', (ROOT / f"src/tersely/rewards/{name}.py").read_text())
    said = f"{summary[1].strip().strip(chr(34))}\n\n" if summary else ""
    options = "    options:\n      show_root_heading: false\n      show_root_toc_entry: false"
    return f"## {name}\n\n{said}::: tersely.rewards.{name}.{name}\n{options}"
