"""The worlds that the shipped studies are of, and where their files lie."""

from enum import StrEnum
from importlib import resources
from pathlib import Path

STUDIES = Path(str(resources.files("tersely") / "recipes" / "studies"))


class Lab(StrEnum):
    """Which of the lab's worlds the shipped studies are of."""

    V2 = "lab-v2"
    V1 = "lab-v1"

    def file(self, name: str) -> Path:
        """The file of this name: the lab's own, or what all labs share."""
        own = STUDIES / self / name
        return own if own.is_file() else STUDIES / name
