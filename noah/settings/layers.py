"""Where settings come from: layers of nested mappings, each on top of the one before.

The layers are the defaults, a recipe, a settings file, and command-line options. A later layer overrides single values
of an earlier one. Every mistake in every layer is reported at once, with its source.
"""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from noah.errors import SettingsError, UsageError, inside_sentence
from noah.files.bounded import LARGEST_YAML, PlainLoader, parse_yaml, read_bounded
from noah.files.latest import follow_latest
from noah.settings.settings import Settings

_OF_A_RUN = {"noah", "created", "settings"}
"""Keys that tell a run's run.yaml from a settings file."""
DEFAULT = "default"
"""The source of a value that nothing sets."""
PLANNED, LIMITED = "auto: ", "auto, within the time limit: "
"""How the sources of values begin that `noah.prepare.auto` planned; a reason follows."""
PROJECT_FILE = Path("noah.yaml")
"""A settings file of this name in the working folder is read automatically."""


def is_planned(source: str) -> bool:
    """Whether `noah.prepare.auto` planned the value that has this source."""
    return source.startswith((PLANNED, LIMITED))


_MERGE = "tag:yaml.org,2002:merge"
"""What YAML makes of the key <<, which takes over the keys of another mapping."""


class _Loader(PlainLoader):
    """Safe YAML that reads 1e-4 as a number, as YAML 1.2 does; 1.1 wants 1.0e-4.

    It refuses a mapping with a key that is there twice, of which PyYAML would drop the first without a word.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuse a key that is there twice."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in lines:
                raise yaml.YAMLError(f"{key.value} in line {line} is there already, in line {lines[name]}")
            lines[name] = line
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


class Layer(BaseModel):
    """One source of settings.

    Args:
        source: Named in error messages and stored with each value, such as "recipe demo" or "--set".
        values: A nested mapping of some of the settings.
        complete: Whether it holds all settings, as a run's run.yaml does, so that no layer below it counts.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    values: dict[str, Any]
    complete: bool = False


def resolve(layers: Sequence[Layer]) -> tuple[Settings, dict[str, str]]:
    """Apply layers on top of the defaults.

    Returns:
        The settings, and for each dotted key the source of its value.

    Raises:
        SettingsError: If any setting is wrong. It has one line for each mistake, which names the key and its source,
            and for an unknown key the nearest known one.
    """
    defaults = Settings().model_dump(mode="python")
    merged = defaults
    origins = {key: DEFAULT for key, _ in flatten(defaults)}
    problems: list[str] = []
    for layer in layers:
        given: set[str] = set()
        for key, value in flatten(layer.values):
            if key in given:
                problems.append(f"{key}: it is given twice ({layer.source})")
            given.add(key)
            if key not in origins:
                section = any(known.startswith(f"{key}.") for known in origins)
                kind = "this is a section, not a value" if section else "unknown setting"
                problems.append(f"{key}: {kind} ({layer.source}){'' if section else _nearest(key, origins)}")
                continue
            origins[key] = layer.source
            merged = _replaced(merged, key.split("."), value)
        for key in _empty(layer.values):
            if key in origins:
                problems.append(f"{key}: a value is expected, found {{}} ({layer.source})")
            elif key not in (sections := {known.rpartition(".")[0]: DEFAULT for known in origins if "." in known}):
                problems.append(f"{key}: unknown section ({layer.source}){_nearest(key, sections)}")
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            path = [str(part) for part in detail["loc"]]
            key = next((".".join(path[:n]) for n in range(len(path), 0, -1) if ".".join(path[:n]) in origins), path[0])
            problems.append(
                f"{key}: {inside_sentence(detail['msg'])}, found {detail['input']!r} ({origins.get(key, DEFAULT)})"
            )
    if problems:
        raise SettingsError(problems, "`noah recipes NAME` prints every setting with its value.")
    return settings, origins


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a nested mapping as (dotted key, value)."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _empty(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of the empty mappings in a nested mapping, of which `flatten` says nothing."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _empty(value, f"{prefix}{key}.") if value else (f"{prefix}{key}",)


def nested(key: str, value: Any) -> dict[str, Any]:
    """Make a nested mapping of a dotted key: {"a": {"b": value}} for "a.b"."""
    first, _, rest = key.partition(".")
    return {first: nested(rest, value) if rest else value}


def assignment_layer(assignment: str) -> Layer:
    """Read one `--set key=value` as a layer; the value is read as YAML.

    Raises:
        SettingsError: If there is no equals sign, or the value is not YAML, or YAML takes a part of it for a comment.
    """
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise SettingsError([f"--set {assignment}: expected KEY=VALUE"], "For example: --set supernet.epochs=20")
    try:
        value = parse_yaml(text, _Loader)
    except ValueError as error:
        raise SettingsError([f"--set {assignment}: the value is not YAML"]) from error
    if _has_comment(text, value):
        quoted = f"{key}={json.dumps(text.strip(), ensure_ascii=False)}"
        raise SettingsError(
            [f"--set {assignment}: YAML leaves out what stands behind the #"],
            f"Leave that out, or quote the text for YAML, too: --set {shlex.quote(quoted)}",
        )
    return Layer(source="--set", values=nested(key.strip(), value))


def _has_comment(text: str, value: Any) -> bool:
    """Whether YAML reads the same text, or nothing, without what stands behind a # that may be a part of it.

    Behind a number or null, as in the lines of `noah recipes NAME`, it can only be a comment.
    """
    start = re.search(r"(?:^|\s)#", text)
    if start is None or not isinstance(value, str | None):
        return False
    if value is None and text[: start.start()].strip():
        return False
    try:
        return bool(parse_yaml(text[: start.start()], _Loader) == value)
    except ValueError:
        return False


def file_layer(path: Path) -> Layer:
    """Read a YAML settings file as a layer, or a run's run.yaml, which gives the settings of that run.

    In a path such as runs/latest/run.yaml, `latest` stands for the latest run.

    Raises:
        UsageError: If the file is missing.
        SettingsError: If it is not a YAML mapping.
    """
    path = path if path.is_file() else follow_latest(path)
    if not path.is_file():
        raise UsageError(f"The settings file {path} does not exist.", "Check the path after --config.")
    try:
        text = read_bounded(path, LARGEST_YAML).decode()
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path}: not a UTF-8 text file"], "Save it as UTF-8.") from error
    except ValueError as error:
        raise SettingsError([f"{path}: not a settings file: {error}"], "Check the path after --config.") from error
    values = _read_mapping(text, str(path))
    if values.keys() >= _OF_A_RUN and isinstance(values["settings"], dict):
        return Layer(source=_named(path), values=values["settings"], complete=True)
    return Layer(source=_named(path), values=values)


def _named(path: Path) -> str:
    """The path as a source; it begins with ./ where it would else read like a source that is no file."""
    name = str(path)
    return f"./{name}" if name == DEFAULT or is_planned(name) or name.startswith(("--", "recipe ")) else name


def recipe_layer(name: str) -> Layer:
    """Read a built-in recipe as a layer.

    Raises:
        UsageError: If there is no recipe of that name.
    """
    if name not in recipe_names():
        raise UsageError(f"No recipe is named {name!r}.", f"The recipes are: {', '.join(recipe_names())}.")
    return Layer(source=f"recipe {name}", values=_read_mapping(recipe_text(name), f"recipe {name}"))


def recipe_names() -> list[str]:
    """The names of the built-in recipes, sorted."""
    return sorted(
        Path(file.name).stem for file in files("noah.settings.recipes").iterdir() if file.name.endswith(".yaml")
    )


def recipe_text(name: str) -> str:
    """The YAML text of a built-in recipe, with its comments."""
    return files("noah.settings.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def _read_mapping(text: str, source: str) -> dict[str, Any]:
    try:
        values = parse_yaml(text, _Loader)
    except ValueError as error:
        place = getattr(error.__cause__, "problem_mark", None)
        what = f"not YAML at line {place.line + 1}" if place else f"not YAML that noah reads: {error}"
        raise SettingsError([f"{source}: {what}"], "Check the indentation and the colons.") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingsError([f"{source}: expected a mapping of settings, found {type(values).__name__}"])
    return {str(key): value for key, value in values.items()}


def _replaced(values: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    first, *rest = path
    return {**values, first: _replaced(values[first], rest, value) if rest else value}


def _nearest(key: str, known: Mapping[str, str]) -> str:
    same_end = [name for name in known if name.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]
    near = difflib.get_close_matches(key, same_end or known, n=1, cutoff=0.5) or same_end
    return f"; did you mean {near[0]}?" if near else ""
