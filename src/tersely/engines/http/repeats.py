"""Samples of one problem that are the same text, as from a server that ignores the temperature."""

import logging
from dataclasses import dataclass, field

from tersely.core.types import SamplingSpec

# Fewer repeats than these may well be the same text by chance.
REPEATS_TO_JUDGE = 20
log = logging.getLogger(__name__)


@dataclass
class RepeatCount:
    """How many completions have the same text as their problem's first."""

    first: dict[str, int] = field(default_factory=dict)
    seen: int = 0
    same: int = 0

    def note(self, problem_id: str, text: str) -> None:
        """Takes in one completion."""
        if problem_id in self.first:
            self.seen += 1
            self.same += self.first[problem_id] == hash(text)
        else:
            self.first[problem_id] = hash(text)

    def warn(self, spec: SamplingSpec) -> None:
        """Warns if every repeat is the same although the sampling is not greedy."""
        if spec.temperature > 0 and spec.top_k != 1 and self.same == self.seen >= REPEATS_TO_JUDGE:
            log.warning(
                "all %d repeated samples have the text of their problem's first: the server "
                "seems to ignore temperature %g (transformers serve does unless the model's "
                "generation_config.json says do_sample)",
                self.seen,
                spec.temperature,
            )
