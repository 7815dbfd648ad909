"""The cost of rows without labels that a network is trained by in the same steps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from stackae.build import AnyUnit, build_corruption, build_loss
from stackae.config import ConsistencyConfig, LadderConfig, SemiSupervisedConfig
from stackae.joint.consistency import Consistency
from stackae.joint.ladder import Ladder
from stackae.joint.reconstructing import Reconstructing
from stackae.plan import Member, PlannedLayer, mirrored
from stackae.shallow.units import TiedLinear


def build_joint(
    config: SemiSupervisedConfig, member: Member, layers: Sequence[PlannedLayer], spread: float
) -> nn.Module:
    """Build the cost of a network, which is conditioned already; what it has of its own is trained along.

    `spread` is the square root of the inputs' total variance.
    """
    match config:
        case LadderConfig(weights=weights):
            return Ladder(member.classifier, list(map(_decoder, member.units)), weights)
        case ConsistencyConfig(epsilon=epsilon, weight=weight):
            assert epsilon != "auto"
            return Consistency(member.classifier, epsilon * spread, weight)
    first = layers[0]
    return Reconstructing(
        member.classifier,
        mirrored(layers, member.units).decoder,
        build_loss(first.loss, first.blocks),
        build_corruption(first.config.corruption, first.blocks),
        config.weight,
    )


def _decoder(unit: AnyUnit) -> Tensor:
    """Return the weight (inputs, units) of a dense unit's decoder."""
    output = unit.decoder[0]
    if isinstance(output, TiedLinear):
        return output.linear.weight.t()
    assert isinstance(output, nn.Linear)
    return output.weight
