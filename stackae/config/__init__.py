"""The configuration of one run: the whole YAML and nothing but the YAML."""

from stackae.config.data import DataConfig, PerClass, SplitConfig
from stackae.config.joint import (
    ConsistencyConfig,
    LadderConfig,
    ReconstructionConfig,
    SemiSupervisedConfig,
)
from stackae.config.layers import ActivationName, LayerConfig, LossName
from stackae.config.objective import (
    ContractivePenaltyConfig,
    CorruptionConfig,
    GaussianConfig,
    GaussianKLPenaltyConfig,
    KLPenaltyConfig,
    L1PenaltyConfig,
    MaskingConfig,
    MixConfig,
    PenaltyConfig,
    SaltPepperConfig,
    SwapConfig,
)
from stackae.config.run import CompareConfig, Config, TrackingConfig, TrainerConfig
from stackae.config.training import (
    BaselineName,
    FinetuneConfig,
    FitConfig,
    PretrainConfig,
    UnrollConfig,
    ValidationConfig,
)

__all__ = [
    "ActivationName",
    "BaselineName",
    "CompareConfig",
    "Config",
    "ConsistencyConfig",
    "ContractivePenaltyConfig",
    "CorruptionConfig",
    "DataConfig",
    "FinetuneConfig",
    "FitConfig",
    "GaussianConfig",
    "GaussianKLPenaltyConfig",
    "KLPenaltyConfig",
    "L1PenaltyConfig",
    "LadderConfig",
    "LayerConfig",
    "LossName",
    "MaskingConfig",
    "MixConfig",
    "PenaltyConfig",
    "PerClass",
    "PretrainConfig",
    "ReconstructionConfig",
    "SaltPepperConfig",
    "SemiSupervisedConfig",
    "SplitConfig",
    "SwapConfig",
    "TrackingConfig",
    "TrainerConfig",
    "UnrollConfig",
    "ValidationConfig",
]
