"""What MkDocs is told beside ``mkdocs.yml``: pages that stand or are made elsewhere."""

import re
from pathlib import Path

import griffe
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
BESIDE = ("CONTRIBUTING.md", "LOG.md")
_SECTION = re.compile(r"\n+(Args|Raises|Returns):\n")
_ELSEWHERE = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=[\"']?https?:[^>]*>"
)
REWARDS = "<!-- every reward, by its docstring -->"


class Sections(griffe.Extension):
    """Our docstrings have no blank line between their sections; mkdocstrings wants one."""

    def on_object(self, *, obj: griffe.Object, **others) -> None:
        """Puts it there."""
        if obj.docstring:
            obj.docstring.value = _SECTION.sub(r"\n\n\1:\n", obj.docstring.value)


def on_post_page(output: str, *, page, config) -> str:
    """Refuses a page that would load something from elsewhere."""
    if found := _ELSEWHERE.search(output):
        raise PluginError(f"{page.file.src_uri} loads {found[0]}; keep it beside the page")
    return output


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
