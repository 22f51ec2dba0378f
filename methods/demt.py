"""DeMT: a deformable mixer as encoder, a task-aware transformer as decoder.

Paper: Xu, Yang and Zhang, "DeMT: Deformable Mixer Transformer for Multi-Task Learning of Dense Prediction",
AAAI 2023. Each task samples the shared features at places of its own, the tasks' features attend to each
other, and every task then asks the result for what it needs:

    X   = LN(W [F_1; up(F_2); up(F_3); up(F_4)])        a token per pixel of the finest level
    M_t = mixer_t(X)                                    deformable mixer, `depth` blocks per task
    Z   = MLP(attention([M_1; ...; M_T]))               task interaction
    Q_t = M_t + MLP_t(attention_t(M_t, Z, Z))           task query
    y_t = up(logits_t(ReLU(BN(conv3x3_t(Q_t)))))

The released code takes the batch axis for the sequence of both attentions. What they do is therefore
attention at each position: among a batch's samples in the interaction, and from one sample's task to all
tasks of all samples in the query.

* `corrected` (default) keeps the attention at each position, which is what the paper's cost and the released
  results rest on, and lets it run over the tasks of one sample, in both. All tokens' attention to all, as
  the paper's text reads, would cost thirty times as much at 1/4 resolution.
* `published` is the released code, number for number: the samples of a batch see each other, in evaluation
  too, and with one sample the interaction lets no token see another.

The parameters are the same in both.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.model import Method, Outputs
from mtlbench.published import Rule, for_tasks
from mtlbench.resizing import resize
from mtlbench.search.spaces import OneOf, domains
from mtlbench.tasks import Tasks

from .layers.checks import check_heads, check_numbers
from .layers.conv import ConvBNReLU, initialise_logits
from .layers.deformable import Deform, DeformableMixer
from .layers.mixer_keys import MIXER_RULES
from .layers.position_attention import TaskInteraction, TaskQueryAtPosition
from .layers.pyramid import PyramidEmbed
from .layers.tokens import to_map, to_tokens

RULES = (
    Rule(r"linear1\.", "embed."),
    Rule(r"task_fusion\.", "interaction.attention."),
    Rule(r"smlp\.", "interaction_mlp."),
)
RULES_OF_TASK = (
    *MIXER_RULES,
    Rule(r"task_querys\.TASK\.", "queries.TASK.attention."),
    Rule(r"smlp2\.TASK\.", "query_mlps.TASK."),
)


class DeMT(Method):
    """DeMT: deformable mixers, then attention across tasks at each position.

    Args:
        backbone: gives the features.
        tasks: what to predict.
        variant: `corrected` or `published` (released code).
        without: quirks of the variant to leave out.
        dim: width of the tokens.
        depth: blocks of each task's deformable mixer.
        heads: of both attentions.
        deform: what computes the deformable convolutions: `sampled`, or the operator of `torchvision` or
            `mmcv`. All give the same.

    Quirks:
        interaction_over_batch: the interaction attends over the batch axis, a token to the same task's at
            the same position in all samples; corrected: over the tasks at each position of a sample.
        query_over_batch: a token asks the tokens of all tasks and all samples at its position; corrected:
            of its own sample.
    """

    paper = "Xu, Yang and Zhang, AAAI 2023"
    code = "after the released code, yangyangxu0/DeMT"
    # As the mixers of DeGMix.
    search_space = domains(depth=OneOf((1, 2, 4)))
    sample_mixing: ClassVar[tuple[str, ...]] = ("interaction_over_batch", "query_over_batch")

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        variant: Literal["corrected", "published"] = "corrected",
        without: tuple[str, ...] = (),
        dim: int = 256,
        depth: int = 1,
        heads: int = 4,
        deform: Deform = "sampled",
    ) -> None:
        super().__init__(backbone, tasks)
        self.keep_quirks(variant, without)
        check_numbers("demt", dim=dim, depth=depth, heads=heads)
        check_heads("demt", dim, heads)
        self.published_keys = (*RULES, *for_tasks(RULES_OF_TASK, tasks))
        channels = sum(backbone.channels)
        self.embed = PyramidEmbed(channels, dim)
        self.mixers = nn.ModuleDict({t: _blocks(dim, depth, deform) for t in tasks})
        self.interaction = TaskInteraction(dim, heads, over_batch="interaction_over_batch" in self.quirks)
        self.interaction_mlp = _mlp(dim)
        over_batch = "query_over_batch" in self.quirks
        self.queries = nn.ModuleDict(
            {t: TaskQueryAtPosition(dim, heads, over_batch=over_batch) for t in tasks}
        )
        self.query_mlps = nn.ModuleDict({t: _mlp(dim) for t in tasks})
        width = max(channels // 8, 1)
        self.bottleneck = nn.ModuleDict({t: ConvBNReLU(dim, width, 3) for t in tasks})
        self.final_logits = nn.ModuleDict({t: nn.Conv2d(width, tasks[t].channels, 1) for t in tasks})
        initialise_logits(self)

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        x = self.embed(features)  # (B, C, h, w)
        mixed = {t: to_tokens(mixer(x)) for t, mixer in self.mixers.items()}  # T times (B, N, C)
        tokens = torch.stack(list(mixed.values()), dim=2)
        fused = self.interaction_mlp(self.interaction(tokens))  # (B, N, T, C)
        final = {}
        for task, m in mixed.items():
            answer = self.query_mlps[task](self.queries[task](m, fused))
            q = to_map(m + answer, (x.shape[-2], x.shape[-1]))  # (B, C, h, w)
            final[task] = resize(self.final_logits[task](self.bottleneck[task](q)), size)
        return Outputs(final)


def _blocks(dim: int, depth: int, deform: Deform) -> nn.Sequential:
    return nn.Sequential(*(DeformableMixer(dim, deform=deform) for _ in range(depth)))


def _mlp(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim))
