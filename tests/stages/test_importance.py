"""What a column is worth: against permutations of one's own, by fold, and where it is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import stackae
from stackae.config_file import load_config
from stackae.data.read import read_source
from stackae.plan import make_plan
from stackae.report.importance_section import importance_section

CONFIG = """\
data: {{source: shop.csv, target: bought, split: {{test: 60, val: 10}}}}
layers: [{{width: 16}}]
pretrain: {{epochs: 1}}
finetune: {{epochs: 30, lr: 0.02, dropout: 0.0, input_dropout: 0.0, batch_size: 50, validation: {validation}}}
compare: {{scratch: false, probe: false, baselines: none}}
report: false
tracking: {{wandb: disabled}}
"""


def shop(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age, city = rng.normal(40, 9, rows).round(1), rng.choice(np.array(["Bern", "Ulm", "Rom"]), rows)
    bought = np.where(age + 14 * (city == "Bern") > 46, "yes", "no")
    frame = pd.DataFrame({"age": age, "noise": rng.normal(size=rows), "city": city, "bought": bought})
    frame.loc[rng.random(rows) < 0.1, "city"] = None
    return frame


def carried_out(folder: Path, validation: str) -> dict[str, Any]:
    shop(400, 0).to_csv(folder / "shop.csv", index=False)
    text = CONFIG.format(validation=validation).replace("shop.csv", str(folder / "shop.csv"))
    (folder / "shop.yaml").write_text(text)
    results = stackae.run(folder / "shop.yaml", out=folder / "run", store=folder / "store")
    assert results.importance is not None
    return dict(results.importance)


@pytest.mark.parametrize(("validation", "rows"), [("{share: 0.5}", 170), ("{folds: 2}", 340)])
def test_a_column_is_worth_what_accuracy_falls_by_without_it(
    tmp_path: Path, validation: str, rows: int
) -> None:
    found = carried_out(tmp_path, validation)
    assert found["rows"] == rows
    assert found["unseen"] == ("folds" in validation)
    means = {each["column"]: each["mean"] for each in found["columns"]}
    assert list(means.values()) == sorted(means.values(), reverse=True)

    model, frame = stackae.load(tmp_path / "run"), shop(400, 0)
    y, rng = frame.pop("bought").to_numpy(), np.random.default_rng(1)
    accuracy = (model.predict(frame) == y).mean()
    assert accuracy > 0.85
    for name, mean in means.items():
        falls = []
        for _ in range(10):
            permuted = frame.assign(**{name: rng.permutation(frame[name].to_numpy())})
            falls.append(accuracy - (model.predict(permuted) == y).mean())
        assert mean == pytest.approx(np.mean(falls), abs=0.07)
    assert means["age"] > means["city"] > 0.05
    assert abs(means["noise"]) < 0.05
    section = importance_section({"importance": found})
    assert section is not None
    assert [row[0] for row in section.tables[0].rows] == list(means)


def test_it_is_left_out_where_it_would_take_too_long_and_that_is_said(tmp_path: Path) -> None:
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(400, 60))).add_prefix("column")
    wide.assign(bought=shop(400, 0)["bought"]).to_csv(tmp_path / "shop.csv", index=False)
    (tmp_path / "shop.yaml").write_text(
        CONFIG.format(validation="none").replace("shop.csv", f"{tmp_path}/shop.csv")
    )
    config = load_config(tmp_path / "shop.yaml")
    source = read_source(config.data)
    assert make_plan(config, source).labelled.importance_left_out == "no rows validate"
    short = load_config(tmp_path / "shop.yaml", ["finetune.validation={folds: 2}", "finetune.epochs=1"])
    labelled = make_plan(short, source).labelled
    assert labelled.importance is None
    assert labelled.importance_left_out == "permuting 60 columns would take more than a tenth of the run"
    longer = load_config(tmp_path / "shop.yaml", ["finetune.validation={folds: 2}", "finetune.epochs=500"])
    assert make_plan(longer, source).labelled.importance is not None
    told = {"rows": 0, "unseen": False, "columns": [], "left_out": labelled.importance_left_out}
    section = importance_section({"importance": told})
    assert section is not None
    assert section.paragraphs == [f"Not measured: {labelled.importance_left_out}."]
