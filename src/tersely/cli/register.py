"""How a function becomes a command: the options that all have, old names, help as it is written."""

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature, cleandoc, signature
from typing import Annotated, Any, get_args, get_origin

import typer
from rich.markup import escape
from typer.models import ParameterInfo

from tersely.cli.frame import form, messages, plain_errors
from tersely.cli.options import flattened
from tersely.core.errors import ConfigError

_QUIET = Annotated[
    bool, typer.Option("--quiet", help="Nothing on stderr but errors: no progress, no notices.")
]
_JSON = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead of tables and text.")
]


def add(
    app: typer.Typer,
    function: Callable[..., None],
    *,
    name: str,
    old: Mapping[str, str] | None = None,
    as_json: bool = True,
) -> None:
    """Adds a command with ``--quiet`` and, where it prints a table, ``--json``.

    Args:
        name: all its words, as they are typed after ``tersely``.
        old: by the name that an option had, the one that it has; both without dashes.
    """
    command, old = flattened(function), dict(old or {})
    own = {key: _plain_help(each) for key, each in signature(command).parameters.items()}
    hidden = [_hidden(word, own[_key(new)], new) for word, new in old.items()]
    common = {"quiet": _QUIET} | ({"as_json": _JSON} if as_json else {})
    flags = [
        Parameter(key, Parameter.KEYWORD_ONLY, default=False, annotation=of)
        for key, of in common.items()
    ]

    # typer calls a command with all of its options by name.
    def run(*, context: Any, **given: Any) -> None:
        quiet, wants_json = given.pop("quiet"), given.pop("as_json", False)
        with form(command=f"tersely {name}", quiet=quiet, as_json=wants_json):
            with plain_errors():
                given = _take_old(given, old, context)
            command(**given)

    context = Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [context, *own.values(), *hidden, *flags]
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    app.command(name.split()[-1], help=escape(cleandoc(function.__doc__ or "")))(run)


def _plain_help(parameter: Parameter) -> Parameter:
    """The parameter, its help safe from the markup that typer reads in it."""
    if get_origin(parameter.annotation) is not Annotated:
        return parameter
    kind, info = get_args(parameter.annotation)
    if isinstance(info, ParameterInfo) and info.help:
        changed = type(info)(**{**vars(info), "help": escape(info.help)})
        return parameter.replace(annotation=Annotated[kind, changed])
    return parameter


def _hidden(word: str, now: Parameter, new: str) -> Parameter:
    kind = get_args(now.annotation)[0]
    option = typer.Option(f"--{word}", hidden=True, help=f"The old name of --{new}.")
    return Parameter(
        f"old_{_key(word)}",
        Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _take_old(given: dict[str, Any], old: Mapping[str, str], context: Any) -> dict[str, Any]:
    """The options by their names of now.

    Raises:
        ConfigError: an option is given by both of its names, with two values.
    """
    for word, new in old.items():
        value = given.pop(f"old_{_key(word)}")
        if value is None or value == []:
            continue
        source = context.get_parameter_source(_key(new))
        if source is not None and source.name != "DEFAULT" and given[_key(new)] != value:
            raise ConfigError(
                f"--{new} {given[_key(new)]} and its old name --{word} {value} differ; give one"
            )
        given[_key(new)] = value
        messages.print(f"--{word} is --{new} now; the old name goes with the next version")
    return given


def _key(word: str) -> str:
    return word.replace("-", "_")
