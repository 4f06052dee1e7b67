"""How far an artifact's outputs may be from the model's, by precision and kind of output."""

from __future__ import annotations

from export.artifact.records import Precision, Tolerance, Values

TOLERANCES: dict[tuple[Precision, Values], Tolerance] = {
    ("fp32", "logits"): Tolerance(max_difference=1e-4, mean_difference=1e-5, other_first_class=0.0),
    ("fp32", "probabilities"): Tolerance(max_difference=1e-4, mean_difference=1e-5, other_first_class=0.0),
    ("fp16", "logits"): Tolerance(max_difference=2e-2, mean_difference=3e-3, other_first_class=0.01),
    ("fp16", "probabilities"): Tolerance(max_difference=5e-2, mean_difference=3e-3, other_first_class=0.01),
    ("bf16", "logits"): Tolerance(max_difference=1e-1, mean_difference=2e-2, other_first_class=0.03),
    ("bf16", "probabilities"): Tolerance(max_difference=2e-1, mean_difference=2e-2, other_first_class=0.03),
    ("int8", "logits"): Tolerance(max_difference=2e-1, mean_difference=3e-2, other_first_class=0.04),
    ("int8", "probabilities"): Tolerance(max_difference=4e-1, mean_difference=3e-2, other_first_class=0.04),
    ("int8-dynamic", "logits"): Tolerance(max_difference=2e-1, mean_difference=3e-2, other_first_class=0.04),
    ("int8-dynamic", "probabilities"): Tolerance(max_difference=4e-1, mean_difference=3e-2, other_first_class=0.04),
}
