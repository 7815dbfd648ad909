"""The baselines of a run against scikit-learn by hand, and models that average with one of them."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from conftest import Cli
from safetensors.numpy import load_file, save_file
from scipy.special import softmax
from sklearn.ensemble import ExtraTreesClassifier
from stage_runs import Finished, described

import stackae
from stackae.config_file import load_config
from stackae.data.read import read_source
from stackae.errors import ArtifactError
from stackae.mixture import LEAST, cross_mixed, fit_mixture
from stackae.plan import make_plan
from stackae.seeds import derive

NAMES = {"baselines": ["extra_trees", "logistic_regression"]}


def accuracy(shares: np.ndarray, y: np.ndarray) -> float:
    return float((shares.argmax(1) == y).mean())


def run(folder: Path, **changes: object) -> Finished:
    """A run that has no labels beside those that it learns from."""
    source = described(folder).data.source
    changes = {"data": {"source": source, "labels": 30}, "compare": NAMES | {"probe": False}} | changes
    return Finished(described(folder, **changes), folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("baselines")
    return run(folder)


def labels(finished: Finished) -> np.ndarray:
    return np.concatenate([finished.array("data", f"labels-{part}") for part in ("train", "val")])


def test_they_are_fitted_to_the_very_rows_that_are_learnt_from(finished: Finished) -> None:
    use = finished.plan.labels
    assert use is not None
    assert use.fold is not None
    rows = np.flatnonzero(use.learn)
    x = np.concatenate([finished.array("data", f"features-{part}") for part in ("train", "val")])[rows]
    y, fold = labels(finished)[rows], use.fold[rows]
    trees = finished.results.baselines[0]
    tried = {1.0: 2, 3.0: 6}[trees["strength"]["roots"]]
    seed = derive(derive(finished.plan.config.seed, "baselines"), "extra_trees")

    def fitted(taken: np.ndarray, count: int, number: int) -> ExtraTreesClassifier:
        leaf = trees["strength"]["min_samples_leaf"]
        state = (seed + number) % 2**32
        model = ExtraTreesClassifier(count, max_features=tried, min_samples_leaf=leaf, random_state=state)
        return model.fit(x[taken], y[taken])

    test = fitted(np.ones(len(x), bool), 500, 0).predict_proba(finished.array("data", "features-test"))
    found = finished.array("baselines", "probabilities-test-extra_trees")
    np.testing.assert_allclose(found, test, atol=1e-6)
    assert trees["test"]["accuracy"] == pytest.approx(
        accuracy(test, finished.array("data", "labels-test")), abs=1e-6
    )
    val = np.empty((len(x), 3))
    for number in range(use.folds):
        val[fold == number] = fitted(fold != number, 100, number).predict_proba(x[fold == number])
    np.testing.assert_allclose(finished.array("baselines", "probabilities-val-extra_trees"), val, atol=1e-6)
    assert trees["val"]["accuracy"] == accuracy(val, y)
    assert trees["on"] == "columns"


def test_the_verdict_names_the_best_by_cross_validation(finished: Finished) -> None:
    verdict, baselines = finished.results.verdict, finished.results.baselines
    assert verdict is not None
    best = verdict["baseline"]
    assert best["val"]["baseline"] == max(each["val"]["accuracy"] for each in baselines)
    stack = softmax(finished.array("finetune", "logits-folds"), axis=1)
    y = labels(finished)[np.flatnonzero(finished.plan.labels.learn)]  # type: ignore[union-attr]
    assert best["val"]["stack"] == accuracy(stack, y)
    use = finished.plan.labels
    assert use is not None
    assert use.fold is not None
    stages = {"columns": "baselines", "columns and codes": "baselines-codes"}
    logits = [finished.array("finetune", "logits-folds").astype(np.float64)]
    for each in baselines:
        logits.append(log(finished.array(stages[each["on"]], f"probabilities-val-{each['name']}")))
    mean = cross_mixed(logits, y, use.fold[use.judged], least=LEAST)
    assert best["val"]["mean"] == accuracy(mean, y)
    shares = fit_mixture(logits, y, least=LEAST).shares[1:]
    kept = sum(share >= LEAST for share in shares)
    assert len(best["mean_with"].split(", ")) == kept
    assert best["mean_with"].startswith(baselines[int(np.argmax(shares))]["name"])
    assert best["text"] in verdict["text"]


def test_codes_of_all_depths_stand_beside_the_columns(tmp_path: Path) -> None:
    long = {"epochs": 150, "batch_size": 25, "lr": 0.05}
    compare = {"baselines": ["logistic_regression"], "probe": False}
    finished = run(tmp_path, pretrain=long, compare=compare)
    assert [each["on"] for each in finished.results.baselines] == ["columns", "columns and codes"]
    every = {
        part: np.concatenate(
            [finished.array(stage, f"features-{part}") for stage in ("data", "pretrain-1", "pretrain-2")], 1
        )
        for part in ("train", "val", "test")
    }
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.flatnonzero(finished.plan.labels.learn)  # type: ignore[union-attr]
    strength = finished.results.baselines[1]["strength"]["C"]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=200, tol=1e-3))
    model.fit(np.concatenate([every["train"], every["val"]])[rows], labels(finished)[rows])
    found = finished.array("baselines-codes", "probabilities-test-logistic_regression")
    np.testing.assert_allclose(found, model.predict_proba(every["test"]), atol=1e-6)


@pytest.mark.parametrize("validation", [{"share": 0.3}, "none"])
def test_held_out_rows_judge_where_there_are_no_folds(tmp_path: Path, validation: object) -> None:
    fine = {"epochs": 3, "batch_size": 25, "validation": validation}
    finished = run(tmp_path, finetune=fine)
    use, baselines = finished.plan.labels, finished.results.baselines
    assert use is not None
    verdict = finished.results.verdict
    assert verdict is not None
    if validation == "none":
        assert [each["val"] for each in baselines] == [None, None]
        assert verdict["baseline"] is None
        return
    assert use.hold_out is not None
    val = finished.array("baselines", "probabilities-val-extra_trees")
    assert len(val) == 9
    assert baselines[0]["val"]["accuracy"] == accuracy(val, labels(finished)[use.hold_out])
    stack = accuracy(finished.array("length", "logits-val"), labels(finished)[use.hold_out])
    assert verdict["baseline"]["val"]["stack"] == stack
    assert "by the rows held out" in verdict["text"]


CONFIG = """\
data: {source: rows.csv, test: test.csv, target: label, labels: 60}
layers: [{width: 6}]
pretrain: {epochs: 2}
finetune: {epochs: 3, dropout: 0.0}
compare: {baselines: [extra_trees, svm, boosting, logistic_regression, label_spreading], probe: false}
trainer: {accelerator: cpu, precision: 32-true}
tracking: {wandb: disabled}
"""
BLENDS = ["extra_trees", "svm", "boosting", "logistic_regression", "label_spreading"]


def write_table(folder: Path) -> None:
    """Classes that lie in boxes, which trees find and a network of three epochs does not."""
    rng = np.random.default_rng(0)
    x = rng.random((420, 5)).round(4)
    kind = (x[:, 0] > 0.5).astype(int) + 2 * (x[:, 1] > 0.5)
    table = pd.DataFrame(x, columns=[*"abcde"]).assign(city=rng.choice([*"uvw"], 420))
    table["label"] = np.array([*"klmn"])[kind]
    table[:300].to_csv(folder / "rows.csv", index=False)
    table[300:].to_csv(folder / "test.csv", index=False)
    (folder / "boxes.yaml").write_text(CONFIG)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    folder = tmp_path_factory.mktemp("boxes")
    write_table(folder)
    done = cli(["run", "boxes.yaml"], folder)
    assert done.returncode == 0, done.stderr
    (folder / "said").write_text(done.stdout)
    for name in BLENDS:
        words = ["run", "boxes.yaml", f"finetune.blend={name}", "report=false", "--quiet"]
        # The mean as it is; tests/stages/test_calibration.py sees to what it is divided by.
        words.append("finetune.temperature=none")
        done = cli([*words, "--out", f"runs/{name}"], folder)
        assert done.returncode == 0, done.stderr
    return folder


def log(shares: np.ndarray) -> np.ndarray:
    logits: np.ndarray = np.log(np.maximum(shares.astype(np.float64), np.finfo(np.float32).tiny))
    return logits


def judged_classes(folder: Path) -> np.ndarray:
    """The classes of the labelled rows of the run `boxes`, in their order."""
    with contextlib.chdir(folder):
        config = load_config(Path("runs/boxes/config.yaml"))
        plan = make_plan(config, read_source(config.data))
    assert plan.labels is not None
    data = folder / ".stackae" / f"data-{plan.data.key[:16]}"
    y = np.concatenate([np.load(data / f"labels-{part}.npy") for part in ("train", "val")])
    found: np.ndarray = y[plan.labels.judged]
    return found


def untempered(model: Any, rows: Any) -> np.ndarray:
    """Probabilities as if nothing had divided the logits."""
    shares: np.ndarray = softmax(np.log(model.predict_proba(rows)) * model.temperature, axis=1)
    return shares


def results_of(folder: Path, name: str) -> dict:  # type: ignore[type-arg]
    found: dict = json.loads((folder / "runs" / name / "results.json").read_text())  # type: ignore[type-arg]
    return found


def test_a_run_in_which_trees_win_says_to_use_them(boxes: Path) -> None:
    said, results = (boxes / "said").read_text(), results_of(boxes, "boxes")
    best = results["verdict"]["baseline"]
    assert best["name"] in ("extra_trees", "boosting")
    assert best["val"]["baseline"] > best["val"]["stack"]
    assert "on the columns" in best["text"]
    assert " ahead of the stack (" in best["text"]
    assert ": use " in best["text"]
    assert best["text"] in said
    assert f"{best['val']['baseline']:.1%}".replace("%", " %") in best["text"]
    assert "Baselines left out: on the columns and codes" in said
    assert "(would take more than a fifth of the run)." in said
    page = (boxes / "runs/boxes/report.html").read_text()
    assert "<h2>Baselines</h2>" in page
    assert best["text"] in page
    assert 'class="verdict bad"' in page
    assert best["text"] in (boxes / "runs/boxes/model/README.md").read_text()


def test_they_are_not_fitted_again(boxes: Path, cli: Cli) -> None:
    done = cli(["run", "boxes.yaml", "finetune.epochs=4", "--out", "runs/again"], boxes)
    assert done.returncode == 0, done.stderr
    stages = {each["stage"]: each["reused"] for each in results_of(boxes, "again")["stages"]}
    assert (stages["baselines"], stages["finetune"]) == (True, False)


@pytest.mark.parametrize("name", BLENDS)
def test_a_blended_model_predicts_the_mean(boxes: Path, cli: Cli, name: str) -> None:
    results = results_of(boxes, name)
    assert results["blend"]["with"] == name
    rows = pd.read_csv(boxes / "test.csv")
    alone, blended = (stackae.load(boxes / "runs" / each) for each in ("boxes", name))
    folder = next(boxes.glob(".stackae/baselines-*[0-9a-f]"))
    shares = np.load(folder / f"probabilities-test-{name}.npy")
    mixture = blended.classifier.mixture
    expected = mixture.of([log(untempered(alone, rows)), log(shares)])
    key = next(each["key"] for each in results["stages"] if each["stage"] == "finetune")
    tuned = boxes / ".stackae" / f"finetune-{key[:16]}"
    val = log(np.load(folder / f"probabilities-val-{name}.npy"))
    fitted = fit_mixture([np.load(tuned / "logits-folds.npy"), val], judged_classes(boxes))
    assert mixture.shares == pytest.approx(fitted.shares, rel=1e-4)
    partner = {"name": name, "on": "columns", "share": mixture.shares[1]}
    assert results["blend"]["partners"] == [pytest.approx(partner)]
    assert mixture.powers == pytest.approx(fitted.powers, rel=1e-4)
    np.testing.assert_allclose(blended.predict_proba(rows), expected, atol=2e-5)

    assert cli(["predict", f"runs/{name}", "test.csv", "-o", f"{name}.csv", "--quiet"], boxes).returncode == 0
    found = pd.read_csv(boxes / f"{name}.csv")
    columns = [column for column in found if column.startswith("probability_")]
    np.testing.assert_allclose(found[columns].to_numpy(), expected, atol=1e-4)
    right = float((np.array(alone.classes)[expected.argmax(1)] == rows["label"]).mean())
    done = cli(["evaluate", f"runs/{name}", "test.csv", "--json"], boxes)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["accuracy"] == pytest.approx(right, abs=1e-6)
    assert results["blend"]["test"]["accuracy"] == pytest.approx(right, abs=1e-6)
    text = results["verdict"]["text"]
    assert "The model averages the stack's probabilities with those of" in text


@pytest.mark.parametrize("name", ["extra_trees", "svm"])
def test_every_export_holds_the_baseline(boxes: Path, cli: Cli, name: str, tmp_path: Path) -> None:
    rows = pd.read_csv(boxes / "test.csv")
    expected = stackae.load(boxes / "runs" / name).predict_proba(rows)

    def exported(to: str, out: str) -> Path:
        done = cli(["export", f"runs/{name}", "--to", to, "-o", tmp_path / out], boxes)
        assert done.returncode == 0, done.stderr
        return tmp_path / out

    hub = stackae.load(exported("hf", "hub"))
    np.testing.assert_array_equal(hub.predict_proba(rows), expected)
    session = onnxruntime.InferenceSession(exported("onnx", "m.onnx"))
    given = {
        "numbers": rows[[*"abcde"]].to_numpy(np.float64),
        "categories": rows[["city"]].to_numpy(object),
    }
    found = dict(zip([each.name for each in session.get_outputs()], session.run(None, given), strict=True))
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-4)
    if name == "svm":
        return
    program = torch.export.load(exported("torch", "m.pt2")).module()
    codes = torch.tensor([["uvw".index(city)] for city in rows["city"]])
    _, shares, _ = program(torch.from_numpy(given["numbers"]), codes)
    np.testing.assert_allclose(shares.detach().numpy(), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("tensor", "value"), [("next", 10**6), ("feature", -1), ("kind", 9), ("root", 10**6), ("next", 0)]
)
def test_trees_that_point_nowhere_are_refused(boxes: Path, tmp_path: Path, tensor: str, value: int) -> None:
    run = tmp_path / "run"
    shutil.copytree(boxes / "runs/extra_trees", run)
    path = run / "model/classifier.safetensors"
    weights = load_file(path)
    changed = weights[f"partners.0.baseline.{tensor}"]
    changed.flat[-2:] = value
    save_file(weights, path)
    with pytest.raises(ArtifactError, match="damaged") as caught:
        stackae.load(run)
    assert "\n" not in str(caught.value)


def test_a_forest_loads_in_less_than_a_second(boxes: Path) -> None:
    import time

    started = time.process_time()
    stackae.load(boxes / "runs/extra_trees")
    assert time.process_time() - started < 1


def test_auto_blends_with_all_that_have_a_share_and_with_none_untold(boxes: Path, cli: Cli) -> None:
    words = ["run", "boxes.yaml", "finetune.blend=auto", "report=false", "--out", "runs/auto"]
    done = cli(words, boxes)
    assert done.returncode == 0, done.stderr
    results = results_of(boxes, "auto")
    best = results["verdict"]["baseline"]
    assert results["blend"]["with"] == best["mean_with"]
    assert results["blend"]["val"]["accuracy"] == pytest.approx(best["val"]["mean"])
    partners = results["blend"]["partners"]
    assert len(partners) == len(results["blend"]["with"].split(", "))
    assert all(each["share"] >= LEAST for each in partners)
    told = re.search(r"^blend .*, the mean of (.*)$", done.stdout, re.MULTILINE)
    assert told
    shares = [int(share) for share in re.findall(r"(\d+)% ", told[1])]
    assert len(shares) == (len(partners) + 1 if len(partners) < 4 else 4)
    assert sum(shares) == pytest.approx(100, abs=2)
    assert shares[1] == round(100 * max(each["share"] for each in partners))
    assert shares[0] == round(100 * (1 - sum(each["share"] for each in partners)))

    # No rows tell which is best.
    words = [*words[:-1], "runs/none", "finetune.validation=none"]
    done = cli(words, boxes)
    assert done.returncode == 0, done.stderr
    assert results_of(boxes, "none")["blend"] is None
    assert "no mean is better than the classifier" in done.stdout


def test_the_estimator_averages_too() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((120, 4)).astype(np.float32)
    y = (x[:, 0] > 0.5).astype(int) + (x[:, 1] > 0.5)
    settings = {"layers": (4,), "epochs": 1, "finetune_epochs": 1, "random_state": 0}
    alone = stackae.StackedAutoencoderClassifier(**settings).fit(x, y)
    blended = stackae.StackedAutoencoderClassifier(**settings, blend="extra_trees").fit(x, y)
    assert blended.results_.blend["with"] == "extra_trees"
    assert alone.results_.blend is None
    assert alone.results_.baselines == []
    mixture = blended.model_.classifier.mixture
    own = softmax(mixture.powers[0] * log(untempered(alone.model_, x)), axis=1)
    first, second = mixture.shares
    shares = (untempered(blended.model_, x) - first * own) / second
    assert shares.min() > -1e-5
    # Trees know the rows that they were fitted to.
    assert accuracy(shares, y) > 0.95
    assert blended.score(x, y) > alone.score(x, y)
