"""Puts the tables and pictures of judged studies into a page: docs/findings.md, or another.

python docs/findings.py runs/lab-v2/all --beside runs/lab-v1/all
python docs/findings.py runs/smollm2-study/study --page docs/real-models.md
"""

import argparse
import re
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
PICTURES = HERE / "findings"
WIDTH_PIXELS, COLOURS = 1100, 256
CLAIMS_HEAD = "| claim | paper | expected | here | verdict |"
PREDICTIONS_HEAD = "| prediction |"
VERDICTS = "Verdicts"
ANSWERS = "\n\nA held-out problem of "
TOLD = ("holds", "does not hold", "the opposite holds", "cannot tell")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("judged", type=Path, help="folder of report.md and png/")
    parser.add_argument("--beside", type=Path, help="the same studies judged in the first lab")
    parser.add_argument("--page", type=Path, default=HERE / "findings.md")
    given = parser.parse_args()
    judged, page = given.judged, given.page
    blocks = sections((judged / "report.md").read_text(encoding="utf-8"))
    if given.beside:
        first = sections((given.beside / "report.md").read_text(encoding="utf-8"))
        counted = count_verdicts(blocks, first)
        blocks = {name: beside(block, first.get(name, "")) for name, block in blocks.items()}
        blocks |= {VERDICTS: counted}
    text = page.read_text(encoding="utf-8")
    for name, block in blocks.items():
        marks = rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)"
        text, found = re.subn(marks, lambda m, b=block: f"{m[1]}{b}\n{m[2]}", text, flags=re.S)
        assert found == 1, f"{page} has {found} places for {name}"
    page.write_text(text, encoding="utf-8")
    PICTURES.mkdir(exist_ok=True)
    for name in re.findall(r"\(findings/([\w-]+\.png)\)", text):
        shrink(judged / "png" / name, PICTURES / name)


def sections(report: str) -> dict[str, str]:
    """The report's parts by their titles, each without its heading."""
    found = {}
    for part in re.split(r"^## ", report, flags=re.M)[1:]:
        title, _, body = part.partition("\n")
        body = re.sub(r"\nEffects: brackets.*\Z", "", body, flags=re.S)
        found[title.strip()] = body.strip()
    return found


def beside(block: str, first: str) -> str:
    """A study's part with what the first lab showed in a column of its claims' table, and without
    the answers before and after, which the study's page has."""
    block = block.partition(ANSWERS)[0]
    if block.startswith(PREDICTIONS_HEAD):
        head, rule, *rows = block.splitlines()
        old = [row.replace("| ", "| lab 1, ", 1) for row in first.splitlines()[2:]]
        return "\n".join([head, rule, *old, *(row.replace("| ", "| lab 2, ", 1) for row in rows)])
    if CLAIMS_HEAD not in block:
        return block
    then = {says: (effect, told) for says, _, _, effect, told in claims_of(first)}
    rows = ["| claim | paper | expected | lab 1 | lab 2 |", "|---|---|---|---|---|"]
    for says, paper, expected, effect, told in claims_of(block):
        old = "<br>".join(then[says]) if says in then else "–"
        rows.append(f"| {says} | {paper} | {expected} | {old} | {effect}<br>{told} |")
    before, _, after = block.partition(CLAIMS_HEAD)
    _, _, rest = after.partition("\n\n")
    return before + "\n".join(rows) + "\n\n" + rest


def count_verdicts(blocks: dict[str, str], first: dict[str, str]) -> str:
    """A table of how many claims of each study came to which verdict, in both labs."""
    heads = [f"{lab}: {told}" for lab in ("lab 1", "lab 2") for told in TOLD]
    lines = ["| " + " | ".join(["study", *heads]) + " |", "|" + "---|" * (1 + len(heads))]
    sums = [0] * len(heads)
    for name, block in blocks.items():
        if CLAIMS_HEAD not in block:
            continue
        counts = [*_counts(first.get(name, "")), *_counts(block)]
        sums = [a + b for a, b in zip(sums, counts, strict=True)]
        lines.append("| " + " | ".join([name, *map(str, counts)]) + " |")
    return "\n".join([*lines, "| " + " | ".join(["all", *map(str, sums)]) + " |"])


def _counts(block: str) -> list[int]:
    """Verdicts of a study, in the order of ``TOLD``; a claim that was not run has none."""
    rows = claims_of(block) if CLAIMS_HEAD in block else []
    verdicts = [told.replace("*", "").partition(" (")[0] for *_, told in rows]
    return [verdicts.count(told) for told in TOLD]


def claims_of(block: str) -> list[list[str]]:
    """The rows of a part's table of claims."""
    table = block.partition(CLAIMS_HEAD)[2].partition("\n\n")[0].strip().splitlines()
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table[1:]]


def shrink(source: Path, to: Path) -> None:
    """A picture for a page: smaller, and of few colours."""
    picture = Image.open(source).convert("RGB")
    height = round(picture.height * WIDTH_PIXELS / picture.width)
    small = picture.resize((WIDTH_PIXELS, height), Image.Resampling.LANCZOS)
    pixels_N3 = np.asarray(small).reshape(-1, 3)
    colours_C3, where_N, counts_C = np.unique(
        pixels_N3, axis=0, return_inverse=True, return_counts=True
    )
    # Areas keep their exact colours, pale as they may be; the other half covers dots and edges.
    areas_P3 = colours_C3[np.argsort(counts_C)[-COLOURS // 2 :]]
    rest = small.quantize(COLOURS // 2, Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette_P3 = np.concatenate([areas_P3, np.reshape(rest, (-1, 3))]).astype(np.int32)
    nearest_C = [np.argmin(((colour - palette_P3) ** 2).sum(axis=1)) for colour in colours_C3]
    few = Image.fromarray(np.uint8(nearest_C)[where_N.reshape(small.height, small.width)], "P")
    few.putpalette(palette_P3.flatten().tolist())
    few.save(to, optimize=True)


if __name__ == "__main__":
    main()
