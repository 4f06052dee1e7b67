"""What was chosen automatically, with the reason; it needs no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Choice:
    """An automatic choice and why it was made; printed, and stored in the run."""

    what: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.what}: {self.value} ({self.reason})"
