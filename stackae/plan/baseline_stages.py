"""The stages of the baselines: on the columns, on these with the codes, and the blend with one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stackae.config import Config
from stackae.config.section import changed
from stackae.data.label_use import LabelUse
from stackae.plan.baselines import ChosenBaselines, choose_baselines
from stackae.plan.layers import PlannedLayer
from stackae.plan.stage import Stage, describe


def plan_baselines(
    config: Config,
    use: LabelUse,
    data: Stage,
    layers: Sequence[PlannedLayer],
    top: Stage,
    finetune: Stage,
    labels: Mapping[str, Any],
    *,
    train: int,
    test: int,
    classes: int,
) -> tuple[ChosenBaselines, tuple[Stage | None, Stage | None, Stage | None]]:
    """Choose the baselines and describe their stages: on the columns, on these with the codes, the blend.

    `labels` are what keys cover of the labels; `train` and `test` are the numbers of rows.
    """
    assert config.finetune is not None
    chosen = choose_baselines(config, use, layers, train, test, classes)
    # Networks and baselines are judged by the same rows, which the config of fine-tuning names.
    labels = {**labels, **changed(config.finetune, include={"validation"})}
    # What reads the columns alone is the same whatever the layers are, and is found again.
    columns = {name: value for name, value in labels.items() if name not in ("precision", "callbacks")}
    judged = len(use.judged)

    def size(names: Sequence[str]) -> int:
        return 4 * len(names) * classes * (test + judged)

    baselines = codes = blend = None
    if on_columns := chosen.names("columns"):
        baselines = describe(
            "baselines",
            data.key,
            {**columns, "names": on_columns},
            section="compare",
            reads=(data.name,),
            size=lambda: size(on_columns),
        )
    if on_codes := chosen.names("columns and codes"):
        codes = describe(
            "baselines-codes",
            top.key,
            {**labels, "names": on_codes},
            kind="baselines",
            section="compare",
            reads=(data.name, *(layer.stage.name for layer in layers[:-1]), top.name),
            size=lambda: size(on_codes),
        )
    if config.finetune.blend != "none" and baselines is not None:
        # What a config names is a baseline on the columns.
        mixed = [baselines]
        if config.finetune.blend == "auto" and codes is not None:
            mixed.append(codes)
        blend = describe(
            "blend",
            finetune.key,
            {"blend": config.finetune.blend, "baselines": [stage.key for stage in mixed]},
            section="finetune",
            # It fits again what it takes, to the same features.
            reads=mixed[-1].reads,
            needs=tuple(stage.name for stage in mixed),
            size=lambda: 4 * classes * test,
        )
    return chosen, (baselines, codes, blend)
