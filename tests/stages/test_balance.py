"""Fine-tuning on classes of unequal size, through the whole main path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight
from stage_runs import Finished, described

from stackae.stages.finetune import class_weights


@pytest.fixture(scope="module")
def recalls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[float]]]:
    """For each balance the test recall of each class, pretrained and from scratch: one row in 20 is rare."""
    folder = tmp_path_factory.mktemp("balance")
    rng = np.random.default_rng(0)
    y = (np.arange(1200) % 20 == 0).astype(int)
    x = rng.normal(size=(1200, 6)) + 1.2 * y[:, None] * (np.arange(6) < 2)
    np.savez(folder / "data.npz", x=x.astype(np.float32), y=y)
    found = {}
    for balance in ("none", "weights", "sampling"):
        config = described(
            folder,
            data={"source": str(folder / "data.npz"), "split": {"test": 0.5}},
            finetune={
                "epochs": 8,
                "batch_size": 50,
                "lr": 0.02,
                "batch_norm": False,
                "balance": balance,
                "patience": None,
            },
        )
        results: Any = Finished(config, folder).results
        found[balance] = {
            stage: getattr(results, stage)["test"]["per_class_recall"] for stage in ("classifier", "scratch")
        }
    return found


@pytest.mark.parametrize("stage", ["classifier", "scratch"])
@pytest.mark.parametrize("balance", ["weights", "sampling"])
def test_balancing_finds_more_of_a_rare_class(
    balance: str, stage: str, recalls: dict[str, dict[str, list[float]]]
) -> None:
    assert recalls["none"][stage][1] < 0.3
    assert recalls[balance][stage][1] > recalls["none"][stage][1] + 0.3
    assert recalls[balance][stage][0] > 0.6


def test_class_weights_are_inverse_to_the_classes_and_one_on_average() -> None:
    y = np.repeat([0, 1, 2], [70, 25, 5])
    weights = class_weights(y).numpy()
    np.testing.assert_allclose(
        weights, compute_class_weight("balanced", classes=np.arange(3), y=y), rtol=1e-6
    )
    assert weights[y].mean() == pytest.approx(1)
