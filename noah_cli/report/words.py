"""The words of the report, each in one sentence, for someone who never read the paper."""

from __future__ import annotations

from types import MappingProxyType

WORDS = MappingProxyType(
    {
        "backbone": "A vision transformer that was trained on other images before; its weights stay as they are.",
        "module": "A small trainable part that is added to a block of the backbone: prompt tokens, LoRA or an adapter.",
        "prompt tokens": "Trained vectors that a block sees beside the pieces of the image; their number is the width.",
        "LoRA rank": "LoRA adds a product of two thin matrices to a block's attention weights; its rank says how thin.",
        "adapter width": "An adapter is a two-layer network after a block; its width is the number of units between.",
        "head": "The last layer, which turns the backbone's features into one score for each class.",
        "subnet": "One choice of widths: for each block how wide each of the three modules is, 0 meaning absent.",
        "supernet": "The backbone with every module at its largest width; any subnet is cut out of it, weights and "
        "all, so that one training serves to judge them all.",
        "budget": "What a subnet may cost at most, such as a number of trainable parameters.",
        "evaluation": "Showing the validation images to one subnet with the supernet's weights, and counting what is "
        "right.",
        "racing": "Giving a subnet up in the middle of its evaluation once it can no longer be among the best.",
        "Pareto front": "The subnets that no other beats in accuracy and in cost at once.",
        "certainty": "How often the winner would win again if the validation images were drawn anew from themselves.",
        "confidence interval": "A range that would hold the true accuracy in 95 of 100 such measurements.",
        "reliability": "Whether the network is right as often as it says it is.",
        "merge": "Folding the modules into the backbone's own weights by exact algebra, which leaves a plain network.",
        "artifact": "The files that export writes: a merged network that runs without the code that trained it.",
        "parity": "How far the outputs of an artifact are from those of the network that it was made from, on the same "
        "images.",
    }
)
