"""The plan of a run: all its stages, in the order in which they are carried out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from stackae.config import Config, FinetuneConfig
from stackae.config.section import changed
from stackae.data.label_use import LabelUse, use_labels
from stackae.data.preprocessing.load import Preprocessing
from stackae.data.source import Source
from stackae.data.splits import Split, make_split
from stackae.machine.hardware import Hardware, resolve
from stackae.plan.labelled import LabelledStages, check_labels, plan_labelled
from stackae.plan.layers import PlannedLayer, plan_layers
from stackae.plan.networks import mirrored
from stackae.plan.settled import labels_alone, settled_finetuning
from stackae.plan.stage import Stage, describe, weight_bytes
from stackae.seeds import derive


@dataclass(frozen=True)
class Plan:
    """The stages of a run in their order; those that the config leaves out are None.

    `config` has numbers in the place of fine-tuning's `auto`, where `given` has what was given.
    """

    given: Config
    config: Config
    source: Source
    hardware: Hardware
    split: Split
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    data: Stage
    layers: tuple[PlannedLayer, ...]
    unroll: Stage | None
    labels: LabelUse | None
    """What labels are used for; None where there are none."""
    alone: FinetuneConfig | None
    """How the control is trained that learns from labelled rows alone; None where fine-tuning does."""
    labelled: LabelledStages

    def seed(self, stage: str) -> int:
        """Derive the seed of a stage that sees labels, another one in each repetition."""
        repeat = self.config.repeat
        return derive(self.config.seed, stage, *([repeat] if repeat else []))

    @property
    def remarks(self) -> tuple[str, ...]:
        """Lines on what a person should know of how the rows were read and what became of them."""
        return (*self.source.remarks, *self.preprocessing.remarks)

    @property
    def stages(self) -> list[Stage]:
        """All stages but the data, in the order in which they are carried out."""
        unlabelled = [layer.stage for layer in self.layers] + ([self.unroll] if self.unroll else [])
        return [*unlabelled, *self.labelled.in_order]

    def below(self, stage: Stage) -> list[Stage]:
        """List the stages that a stage builds on, in their order."""
        every = [self.data, *self.stages]
        keys, waiting = set[str](), [stage]
        while waiting:
            upper = waiting.pop()
            named = {*upper.reads, *upper.needs}
            lower = [each for each in every if each.key == upper.parent or each.name in named]
            waiting += [each for each in lower if each.key not in keys]
            keys |= {each.key for each in lower}
        return [each for each in every if each.key in keys]

    @property
    def depths(self) -> list[str]:
        """The stages from the data to the last layer, by name: features of ever greater depth."""
        return [self.data.name, *(layer.stage.name for layer in self.layers)]

    @property
    def top(self) -> Stage:
        """The stage whose features are the last ones before fine-tuning."""
        return self.unroll or self.layers[-1].stage

    @property
    def reported(self) -> tuple[str, ...]:
        """The stages whose features a report reads, by name."""
        return tuple(dict.fromkeys((*self.depths, self.top.name)))


def make_plans(config: Config, source: Source, callbacks: Sequence[str] = ()) -> list[Plan]:
    """Describe the repetitions of a run, a plan for each; they share all but the stages that see labels."""
    first = make_plan(config, source, callbacks=callbacks)
    numbers = range(config.repeat + 1, config.repeat + config.repeats)
    configs = [config.model_copy(update={"repeat": number}) for number in numbers]
    return [first, *(_repeated(first, each, callbacks) for each in configs)]


def _repeated(first: Plan, config: Config, callbacks: Sequence[str]) -> Plan:
    split = make_split(first.source, config.data, config.seed, config.repeat)
    assert split.fingerprint == first.split.fingerprint
    config, use, alone = _with_labels(config, first.source, split, first.preprocessing)
    trained = _trained(first.hardware, callbacks)
    labelled = plan_labelled(
        config, first.source, split, use, alone, first.data, first.layers, first.top, trained
    )
    # Columns are weighed for the model that is kept, which is the first repetition's.
    labelled = replace(labelled, importance=None)
    return replace(first, config=config, split=split, labels=use, alone=alone, labelled=labelled)


def _trained(hardware: Hardware, callbacks: Sequence[str]) -> Mapping[str, Any]:
    """Return what the keys of all stages that train cover."""
    return {"precision": hardware.precision} | ({"callbacks": [*callbacks]} if callbacks else {})


def make_plan(
    config: Config, source: Source, split: Split | None = None, callbacks: Sequence[str] = ()
) -> Plan:
    """Describe the stages of a run: what each reads, what its key covers, how much it writes.

    Rows are divided as `split` says; without it as the config asks. `callbacks` name those of the person's
    own, which may change what is trained. Raises ConfigError or DataError where
    data, shapes and losses do not fit.
    """
    given, hardware = config, resolve(config.trainer)
    split = split or make_split(source, config.data, config.seed, config.repeat)
    check_labels(config, source)
    preprocessing = source.preprocessing(split.train)
    config, use, alone = _with_labels(config, source, split, preprocessing)
    rows = sum(map(len, split.parts.values()))

    data = describe(
        "data",
        "",
        {"fingerprint": source.fingerprint, "rows": split.fingerprint, "seed": config.seed},
        size=lambda: rows * (4 * math.prod(preprocessing.shape) + 8),
    )
    trained = _trained(hardware, callbacks)
    layers = plan_layers(config, preprocessing, trained, data, train=len(split.train), rows=rows)

    def unrolled_size() -> int:
        with torch.device("meta"):
            deep = mirrored(layers, [layer.unit() for layer in layers])
        return weight_bytes(deep) + 4 * rows * math.prod(layers[-1].code)

    unroll = None
    if config.unroll.epochs:
        unroll = describe(
            "unroll",
            layers[-1].stage.key,
            {"fit": changed(config.unroll), **trained},
            reads=(data.name,),
            below=data.name,
            epochs=config.unroll.epochs,
            size=unrolled_size,
        )
    top = unroll or layers[-1].stage
    labelled = plan_labelled(config, source, split, use, alone, data, layers, top, trained)
    return Plan(
        given,
        config,
        source,
        hardware,
        split,
        preprocessing,
        source.classes,
        data,
        layers,
        unroll,
        use,
        alone,
        labelled,
    )


def _with_labels(
    config: Config, source: Source, split: Split, preprocessing: Preprocessing
) -> tuple[Config, LabelUse | None, FinetuneConfig | None]:
    """Say what labels are used for, and put numbers in the place of fine-tuning's `auto`.

    The last is how the control with labels alone is trained, if there is to be one.
    """
    use = use_labels(source, split, config) if source.classes else None
    if config.finetune is None or use is None:
        return config, use, None

    def settled(given: FinetuneConfig) -> FinetuneConfig:
        return settled_finetuning(
            given,
            config.layers,
            preprocessing.shape,
            labelled=int(use.first.sum()),
            rows=len(split.train),
            folds=bool(use.folds),
            table=preprocessing.blocks is not None,
        )

    joint = config.finetune.semi_supervised is not None and config.compare.scratch
    alone = settled(labels_alone(config.finetune)) if joint else None
    return config.model_copy(update={"finetune": settled(config.finetune)}), use, alone
