"""The terms of the report, each explained in one sentence for readers who do not know the paper."""

from __future__ import annotations

from types import MappingProxyType

WORDS = MappingProxyType(
    {
        "backbone": "A vision transformer that was pretrained on other images; its weights stay frozen.",
        "module": "A small trainable part that is added to a block of the backbone, such as prompt tokens, LoRA or an "
        "adapter.",
        "prompt tokens": "Trained vectors that a block sees beside the image patches; their number is the width.",
        "LoRA rank": "LoRA adds a product of two thin matrices to a block's attention weights; its rank says how thin.",
        "adapter width": "An adapter is a small two-layer network after a block; its width is its hidden size.",
        "head": "The last layer, which turns the backbone's features into one score for each class.",
        "subnet": "One choice of widths: how wide each kind of module is in each block, where 0 means absent.",
        "supernet": "The backbone with every module at its largest width; every subnet is a part of it and shares its "
        "weights, so that one training is enough to compare them all.",
        "budget": "The most that a subnet may cost, such as a number of trainable parameters.",
        "evaluation": "Running one subnet with the supernet's weights on the validation images, and counting how many "
        "it gets right.",
        "racing": "Giving up a subnet during its evaluation once it can no longer be among the best.",
        "Pareto front": "The subnets that no other beats in both accuracy and cost.",
        "certainty": "How often the winner would win again if the validation images were resampled with replacement.",
        "confidence interval": "A range that would contain the true accuracy in 95 of 100 such measurements.",
        "reliability": "Whether the network is right as often as its confidence says.",
        "merge": "Folding the modules into the backbone's own weights by exact algebra, which leaves a plain network.",
        "artifact": "The files that export writes: a merged network that runs without the code that trained it.",
        "parity": "How far an artifact's outputs are from those of the network that it was made from, on the same "
        "images.",
    }
)
