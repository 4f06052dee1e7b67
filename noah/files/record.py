"""Values that lie in files as JSON objects: their dataclass says once what is written, and what is read is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from noah.errors import inside_sentence

adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)
"""What pydantic checks values of a type with and writes them; made once for each type."""


class Record:
    """The base of a dataclass whose fields are the keys of a JSON object."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """The fields in their order, in types that JSON has."""
        written: dict[str, Any] = adapter(type(self)).dump_python(self, mode="json")
        return written

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `to_json` gave; further keys are ignored.

        Raises:
            ValueError: If a key is missing or holds another type; it names the first place.
        """
        try:
            read: Self = adapter(cls).validate_python(value)
        except (ValidationError, RecursionError) as error:
            raise ValueError(first_problem(error)) from error
        return read


def first_problem(error: ValidationError | RecursionError) -> str:
    """The first place of a value that is wrong, and what is wrong there, to stand inside a sentence."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    first: Mapping[str, Any] = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    message = inside_sentence(str(first["msg"]))
    return f"{place}: {message}" if place else message
