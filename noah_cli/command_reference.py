"""The reference of all commands in Markdown, read off the command line itself.

It is docs/commands.md: `python -m noah_cli.command_reference > docs/commands.md`.
"""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

import typer

from noah_cli.app import app

_OWN_HELP = ("help", "install_completion", "show_completion")


def command_reference(application: typer.Typer) -> str:
    """A chapter for each command, in the order of `noah --help`: what it does, its arguments, its options by panel.

    Args:
        application: The command line.
    """
    group: Any = typer.main.get_command(application)
    parts = [
        "# Commands",
        "",
        "Made from the command line by `python -m noah_cli.command_reference`; `noah COMMAND --help` says the same.",
        "",
        "These go with every command, anywhere on the line:",
        "",
        *_table(group.params),
    ]
    for name, command in group.commands.items():
        parts += ["", f"## noah {name}", "", *_chapter(name, command)]
    return "\n".join(parts) + "\n"


def _chapter(name: str, command: Any) -> list[str]:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    usage = " ".join([f"noah {name}", *("[OPTIONS]" for _ in options[:1]), *map(_spelling, arguments)])
    lines = [f"    {usage}", "", *_paragraphs(command.help or "")]
    if arguments:
        lines += ["", *_table(arguments)]
    for panel in dict.fromkeys(getattr(option, "rich_help_panel", None) for option in options):
        rows = [option for option in options if getattr(option, "rich_help_panel", None) == panel]
        rows = [option for option in rows if option.name not in _OWN_HELP]
        if rows:
            lines += ["", *([f"**{panel}**", ""] if panel else []), *_table(rows)]
    return lines


def _paragraphs(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


def _table(parameters: list[Any]) -> list[str]:
    shown = [parameter for parameter in parameters if parameter.name not in _OWN_HELP]
    rows = [f"| {_code(parameter)} | {_cell(parameter.help or '')} |" for parameter in shown]
    return ["| | |", "| --- | --- |", *rows]


def _code(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_spelling(parameter)}`"
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    value = "" if parameter.is_flag else f" `{_value(parameter)}`"
    return names + value


def _value(parameter: Any) -> str:
    """What a person writes after the option's name: the choices, or the word that stands for it."""
    annotation = parameter.type_descriptor.annotation
    if get_origin(annotation) is Literal:
        return "\\|".join(map(str, get_args(annotation)))
    return str(parameter.metavar or getattr(annotation, "__name__", "value").upper())


def _spelling(argument: Any) -> str:
    name = (argument.metavar or argument.name.upper()).strip("[]").removesuffix("...")
    name += "..." if argument.nargs == -1 else ""
    return name if argument.required else f"[{name}]"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(command_reference(app), end="")
