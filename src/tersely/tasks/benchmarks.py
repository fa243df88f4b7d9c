"""Where the benchmarks and training sets come from, a record each.

Every revision is one that public projects pin; two sets have none that could be found, and say so.
Row counts are those of the pinned files. ``-`` as a licence: the dataset's card declares none.
"""

from dataclasses import dataclass

from tersely.core.errors import ConfigError, no_such
from tersely.tasks.questions import (
    GPQA,
    IFEVAL,
    LIVECODEBENCH,
    QuestionLayout,
    after_hashes,
    plain,
    scientific,
    verl,
)

BOXED = "Please reason step by step, and put your final answer within \\boxed{}."
LETTER = "Please reason step by step, and put the letter of your choice within \\boxed{}."
# The instruction of the paper (arXiv:2602.20945, Tables 3-6) and of DeepScaleR, after one space.
TRAINING = "Let's think step by step and output the final answer within \\boxed{}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A set of problems on the Hugging Face hub.

    Args:
        files: paths in the dataset's repository, ``*`` for any name.
        rows: how many rows the files hold; several where several versions are in use; empty: not
            known.
        suffix: what follows each prompt.
        id_column: what tells its problems apart; None: their place in the files.
        unanswered: rows that are known to have no answer; up to so many are left out.
        gated: its terms have to be accepted on its page first.
    """

    name: str
    dataset: str
    revision: str | None
    files: tuple[str, ...]
    rows: tuple[int, ...]
    layout: QuestionLayout
    licence: str
    grader: str = "math"
    suffix: str = f"\n\n{BOXED}"
    id_column: str | None = None
    difficulty_column: str | None = None
    training: bool = False
    gated: bool = False
    unanswered: int = 0


_EVALUATION = (
    Benchmark(
        name="aime24",
        dataset="HuggingFaceH4/aime_2024",
        revision="2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
        files=("data/train-00000-of-00001.parquet",),
        rows=(30,),
        layout=plain("problem", "answer"),
        id_column="id",
        licence="-",
    ),
    Benchmark(
        name="aime25",
        dataset="math-ai/aime25",
        revision="563bb8404243c5f09de6ec262f2db674fe5bce9b",
        files=("test.jsonl",),
        rows=(30,),
        layout=plain("problem", "answer"),
        licence="-",
    ),
    Benchmark(
        name="amc23",
        dataset="math-ai/amc23",
        revision="80815d37005feb82cd7f8fbc6901d5d3eff43057",
        files=("test-00000-of-00001.parquet",),
        rows=(40,),
        layout=plain("question", "answer"),
        licence="-",
    ),
    # AMC 12 of 2022 and 2023. Its ids begin anew with each year, and answers are floats.
    Benchmark(
        name="amc",
        dataset="AI-MO/aimo-validation-amc",
        revision="69d78a4a2c840e82d69af6bc742bda09005f6316",
        files=("data/train-00000-of-00001.parquet",),
        rows=(83,),
        layout=plain("problem", "answer"),
        licence="Apache-2.0",
    ),
    Benchmark(
        name="math500",
        dataset="HuggingFaceH4/MATH-500",
        revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        files=("test.jsonl",),
        rows=(500,),
        layout=plain("problem", "answer"),
        id_column="unique_id",
        difficulty_column="level",
        licence="-",
    ),
    Benchmark(
        name="minerva",
        dataset="math-ai/minervamath",
        revision="ee46ddc498933b1977577953250ca5c66be64f96",
        files=("test.jsonl",),
        rows=(272,),
        layout=scientific("question", "answer"),
        licence="-",
    ),
    # Open-ended English competition mathematics without pictures. 674 rows on the hub; the file
    # that Qwen2.5-Math and DeepScaleR evaluate on, and so the paper, has 675.
    Benchmark(
        name="olympiadbench",
        dataset="math-ai/olympiadbench",
        revision="4faaf1e6ec17d11a4218a9bf4c049ecaf954dd84",
        files=("test.parquet",),
        rows=(674, 675),
        layout=plain("question", "final_answer"),
        id_column="id",
        licence="Apache-2.0 (original)",
    ),
    Benchmark(
        name="gsm8k",
        dataset="openai/gsm8k",
        revision="740312add88f781978c0658806c59bc2815b9866",
        files=("main/test-00000-of-00001.parquet",),
        rows=(1319,),
        layout=after_hashes("question", "answer"),
        grader="number",
        licence="MIT",
    ),
    Benchmark(
        name="gpqa-diamond",
        dataset="Idavidrein/gpqa",
        revision="633f5ee89ab8ad4522a9f850766b73f62147ffdd",
        files=("gpqa_diamond.csv",),
        rows=(198,),
        layout=GPQA,
        id_column="Record ID",
        grader="choice",
        suffix=f"\n\n{LETTER}",
        licence="CC-BY-4.0",
        gated=True,
    ),
    # Its files and rows are those of a release: see livecodebench().
    Benchmark(
        name="livecodebench",
        dataset="livecodebench/code_generation_lite",
        revision="0fe84c3912ea0c4d4a78037083943e8f0c4dd505",
        files=("test6.jsonl",),
        rows=(175,),
        layout=LIVECODEBENCH,
        id_column="question_id",
        grader="code",
        suffix="",
        licence="CC",
    ),
    Benchmark(
        name="ifeval",
        dataset="google/IFEval",
        revision="966cd89545d6b6acfd7638bc708b98261ca58e84",
        files=("ifeval_input_data.jsonl",),
        rows=(541,),
        layout=IFEVAL,
        id_column="key",
        grader="instructions",
        suffix="",
        licence="Apache-2.0",
    ),
)

_TRAINING = (
    # A discussion on its page counts 6 rows without an answer.
    Benchmark(
        name="deepscaler",
        dataset="agentica-org/DeepScaleR-Preview-Dataset",
        revision="b6ae8c60f5c1f2b594e2140b91c49c9ad0949e29",
        files=("deepscaler.json",),
        rows=(40315,),
        layout=plain("problem", "answer"),
        suffix=f" {TRAINING}",
        licence="MIT",
        training=True,
        unanswered=6,
    ),
    # The original repeats each prompt 100 times; here each stands once, without instructions.
    Benchmark(
        name="dapo-math",
        dataset="open-r1/DAPO-Math-17k-Processed",
        revision="31dd309567e3da778038cc87d868b6097a3ccf68",
        files=("all/train-00000-of-00001.parquet",),
        rows=(17398,),
        layout=plain("prompt", "solution"),
        licence="- (original: Apache-2.0)",
        training=True,
    ),
    # Revision and row count could not be looked up; file and layout are those that the code of
    # hkust-nlp/Laser writes and reads.
    Benchmark(
        name="laser-deepscaler",
        dataset="hkust-nlp/Laser-Deepscaler-Dataset",
        revision=None,
        files=("train.parquet",),
        rows=(),
        layout=verl(),
        suffix="",
        licence="not looked up",
        training=True,
    ),
    # Revision, files, columns and row count could not be looked up: the layout is a guess from
    # the set that it was made of.
    Benchmark(
        name="deepscaler-easy",
        dataset="taki555/DeepScaleR-Easy",
        revision=None,
        files=("*.parquet", "*/*.parquet"),
        rows=(),
        layout=verl(),
        suffix="",
        licence="not looked up",
        training=True,
    ),
)

ALL = {record.name: record for record in (*_EVALUATION, *_TRAINING)}

# Problems that each file of LiveCodeBench adds to those before: 400, 511, 612, 713, 880, 1055.
LIVECODEBENCH_ROWS = (400, 111, 101, 101, 167, 175)


def livecodebench_parts(release: str) -> range:
    """The files of a release, by LiveCodeBench's names: ``v6`` is what the sixth one added,
    ``v4_v6`` all that the last three did, ``release_v6`` everything up to it.

    Raises:
        ConfigError: there is no such release.
    """
    last = len(LIVECODEBENCH_ROWS)
    known = {f"release_v{n}": range(1, n + 1) for n in range(1, last + 1)}
    known |= {f"v{n}": range(n, n + 1) for n in range(1, last + 1)}
    known |= {
        f"v{first}_v{n}": range(first, n + 1)
        for first in range(1, last + 1)
        for n in range(first + 1, last + 1)
    }
    if release not in known:
        raise ConfigError(no_such("release", release, known, of="livecodebench"))
    return known[release]
