"""How far an artefact may be from the network that it was made from: one table, with its reasons.

Differences of logits are relative to the largest logit of the batch, those of probabilities absolute. Logits were
measured, with every weight and result rounded, on the digits run of `make demo` (DINOv2 ViT-S/14 at 56 px, 200
validation images, float and raw pixel input) and on merged networks of random weights: timm's test_vit, a ViT-S/16 at
112 px and a ViT-B/16 at 224 px.

| precision | largest difference | mean | images with another first class |
| --- | --- | --- | --- |
| fp32 | 7e-7 to 3e-6 | 2e-7 to 5e-7 | 0 |
| fp16 | 7e-4 to 5e-3 | 3e-4 to 1e-3 | 0 |
| bf16 | 1e-2 to 3e-2 | 3e-3 to 4e-3 | 0 |
| int8 | 1e-2 to 7e-2 | 4e-3 to 1e-2 | 0 to 0.5 % |

What is allowed is a few times of that: batches of one image vary, deeper networks round more often, and a wrong weight
that matters, a lost normalisation or swapped classes do far more. In float32 the margin is wider, because the order in
which a machine adds makes the difference there, and still nothing that is wrong hides under 1e-4. Between two classes a
difference d of their logits moves a probability by d / 4 at the steepest; with the largest logits seen, 13, that is
what probabilities are allowed (measured: 5e-4 in fp16, 7e-3 in bf16, 3e-2 in int8). A half-precision or 8-bit artefact
may put another class first where the two likeliest are nearly equal. For 8 bits this row catches what is broken; what
they cost is bounded by `export.convert.accuracy_loss`.
"""

from __future__ import annotations

from typing import Literal

from export.artifact.records import Precision, Tolerance

Values = Literal["logits", "probabilities"]

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
