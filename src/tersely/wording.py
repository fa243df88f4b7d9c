"""What the command line says, said to a caller from Python: its options as our arguments.

A command that a message tells to run, with its options, stays as it is.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

from tersely.core.errors import ConfigError, DataError
from tersely.flows.diagnose import Diagnosis
from tersely.flows.evaluate.pairing import PairBy
from tersely.metrics.budgets import Protocol
from tersely.metrics.records import BudgetOf
from tersely.readers.recognising import sources

# The command line's options and what they are called here.
ARGUMENTS = {
    "--by-row": "by_row",
    "--cap-tokens": "cap_tokens",
    "--budget-of": "budget_of",
    "--budgets": "budgets",
    "--protocol": "protocol",
    "--k": "k",
    "--set": "the override",
    "--from": "source",
    "--column": "columns",
    "--tokenizer": "tokenizer",
    "--only-model": "only_model",
    "--benchmark-name": "benchmark_name",
    "--benchmark": "benchmark_name",
    "--regrade": "regrade",
    "--pair-by": "pair_by",
    "--run": "run",
    "--staleness": "staleness",
    "--tokens-per-second": "tokens_per_second",
}
# Those whose value is a list.
_LISTS = ("budgets", "k")
_AGAIN = re.compile(r"\b(resample|evaluate) with (?=--)")
_COMPARE = re.compile(r"(?<!tersely )\bcompare (?=--)")
_THEIRS = r"(?:[^\s;,()'\"]*[^\s;,()'\".:])?"
_COMMAND = r"tersely [a-z]+(?: --?[\w-]+(?:[ =](?:'[^']*'|[^\s;,'-][^\s;,]*))?)+"
_WORDS = "|".join(["GRADER", "NAME", "MODEL", "FOLDER", *sources(), *Protocol, *BudgetOf, *PairBy])
_SAID = re.compile(
    rf"(?P<command>{_COMMAND})"
    rf"|(?P<columns>--column \w+={_THEIRS}(?:(?: --column| or) \w+={_THEIRS})*)"
    r"|--run (?:'(?P<quoted>[^']*)'|(?P<run>[^\s;,()]*[^\s;,().]))"
    rf"|(?P<option>{'|'.join(ARGUMENTS)})(?![\w-])"
    rf"(?: (?:(?P<word>{_WORDS})(?![\w-])|(?P<number>\d+(?:\.\d+)?)(?![\w.]*\w)))?"
)
_MAPPED = re.compile(rf"(\w+)=({_THEIRS})")


def in_python(text: str) -> str:
    """A sentence with our arguments in the place of the command line's options."""
    said = _AGAIN.sub(r"\1 with tersely eval ", text)
    said = _SAID.sub(_translate, _COMPARE.sub("compare with ", said))
    return said.replace('" columns={', '", columns={')


def _translate(said: "re.Match[str]") -> str:
    if said["command"]:
        return said[0]
    if said["columns"]:
        pairs = _MAPPED.findall(said["columns"])
        return f"columns={json.dumps({ours: theirs or 'NAME' for ours, theirs in pairs})}"
    if run := said["quoted"] or said["run"]:
        return f"run={json.dumps(run)}"
    name, number = ARGUMENTS[said["option"]], said["number"]
    if said["word"]:
        return f"{name}={json.dumps(said['word'])}"
    if number:
        return f"{name}=[{number}]" if name in _LISTS else f"{name}={number}"
    return name


@contextmanager
def in_our_words() -> Iterator[None]:
    """Has errors of the flows name our arguments."""
    try:
        yield
    except (ConfigError, DataError) as error:
        raise type(error)(in_python(str(error))) from error


def reworded(found: Diagnosis) -> Diagnosis:
    """The same diagnosis, whose advice names our arguments."""
    alarms = [
        alarm._replace(evidence=in_python(alarm.evidence), advice=in_python(alarm.advice))
        for alarm in found.alarms
    ]
    return found._replace(alarms=alarms, unknown=[in_python(said) for said in found.unknown])
