"""Exported models: that others compute with them what stackae does, and what is refused in one line."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from conftest import REPOSITORY, Cli
from faults.forked import carry_out
from hub_server import serving
from safetensors import safe_open
from scipy.stats import norm
from sklearn.datasets import load_digits
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, StandardScaler

import stackae
from stackae import export as export_room
from stackae.config import Config
from stackae.export.preprocessing import NormalQuantile, scaler_module
from stackae.report.card import card, front_matter

ROWS = 500
TAIL = (
    "pretrain: {epochs: 1}\nfinetune: {epochs: 4, dropout: 0.0}\n"
    "compare: {scratch: false, probe: false, baselines: none}\ntracking: {wandb: disabled}\n"
    "trainer: {precision: 32-true}\nreport: false\n"
)
CONFIGS = {
    "shop": "data: {source: shop.csv, target: bought, types: {fee: quantile, income: minmax}, drop: [note]}\n"
    "layers: [{width: 12}, {width: 5}]\n" + TAIL.replace("dropout: 0.0", "dropout: 0.0, validation: none"),
    "deep": "data: {source: digits}\n"
    "layers: [{unit: conv, width: 4, kernel: 3, pool: 2, tied: true}, {width: 20, activation: top_k, k: 5},\n"
    "  {width: 12, kind: rbm, activation: linear, connectivity: 0.5},\n"
    "  {width: 6, kind: variational}]\n"
    + TAIL.replace("dropout: 0.0", "dropout: 0.0, validation: {folds: 2}"),
    "bare": "data: {source: digits, scaling: standard}\nlayers: [{width: 8, kind: rbm}]\n"
    + TAIL.replace("{epochs: 4, dropout: 0.0}", "null"),
}


def shop(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, rows).astype(float)
    city = rng.choice(np.array(["Bern", "Köln", "Rom, Lazio", "Ulm"], object), rows, p=[0.4, 0.3, 0.29, 0.01])
    bought = np.where(age + 20 * (city == "Bern") + rng.normal(0, 5, rows) > 55, "yes", "no")
    age[rng.random(rows) < 0.1] = np.nan
    city[rng.random(rows) < 0.1] = None
    fee, income = rng.exponential(5, rows).round(0), rng.normal(50, 10, rows)
    return pd.DataFrame({"age": age, "fee": fee, "city": city, "income": income, "bought": bought})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A folder with the runs of CONFIGS."""
    folder = tmp_path_factory.mktemp("trained")
    shop(ROWS, 0).assign(note="x").to_csv(folder / "shop.csv", index=False)
    for name, text in CONFIGS.items():
        (folder / f"{name}.yaml").write_text(text)
        done = cli(["run", f"{name}.yaml", "--quiet"], folder)
        assert done.returncode == 0, done.stderr
    return folder


def exported(cli: Cli, folder: Path, name: str, to: str, out: Path) -> Path:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    done = cli(["export", f"runs/{name}", "--to", to, "-o", out], folder)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]  # noqa: NPY002
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    return out


def shared(cli: Cli, folder: Path, name: str, to: str) -> Path:
    """A file that is not to be changed, exported by the first test that asks for it."""
    out = folder / "exported" / to / name / f"{name}{'.onnx' if to == 'onnx' else '.pt2'}"
    if not out.exists():
        out.parent.mkdir(parents=True)
        exported(cli, folder, name, to, out)
    return out


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def fit_for(session: onnxruntime.InferenceSession, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """A frame as the file's own metadata says that it takes one."""
    told = {name: json.loads(text) for name, text in metadata(session).items() if name != "stackae"}
    return {
        "numbers": frame[told["numbers"]].to_numpy(np.float64),
        "categories": frame[told["categories"]].fillna("").to_numpy(object),
    }


def tensors(name: str, rows: Any) -> list[torch.Tensor]:
    """Rows as the program of a run takes them."""
    if name != "shop":
        return [torch.from_numpy(rows.astype(np.float32))]
    places = {"Bern": 0, "Köln": 1, "Rom, Lazio": 2, "Ulm": 3}
    codes = rows["city"].map(places).fillna(4).astype(int)
    numbers = rows[["age", "income", "fee"]].to_numpy().copy()
    return [torch.from_numpy(numbers), torch.from_numpy(codes.to_numpy().copy()[:, None])]


def metadata(session: onnxruntime.InferenceSession) -> dict[str, str]:
    found: dict[str, str] = session.get_modelmeta().custom_metadata_map
    return found


# ---- ONNX


def test_a_table_in_onnx_takes_raw_numbers_and_texts(folder: Path, cli: Cli) -> None:
    model = stackae.load(folder / "runs" / "shop")
    runs = session(shared(cli, folder, "shop", "onnx"))
    rows = shop(3000, 1).drop(columns="bought")
    rows.loc[0, "city"] = "Mars"
    rows.loc[1:4, "fee"] = [1e9, -1e9, 0.25, np.nan]
    rows.loc[5:6, "income"] = [1e9, -1e9]

    logits, probabilities, code = runs.run(["logits", "probabilities", "code"], fit_for(runs, rows))

    expected = model.predict_proba(rows)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert (logits.argmax(1) == expected.argmax(1)).all()
    np.testing.assert_allclose(
        np.log(probabilities), logits - np.log(np.exp(logits).sum(1))[:, None], atol=1e-5
    )
    np.testing.assert_allclose(code, model.encode(rows), atol=1e-5)
    for few in (0, 1, 7):
        some = runs.run(["logits"], fit_for(runs, rows[:few]))[0]
        np.testing.assert_allclose(some, logits[:few], atol=1e-5)
    assert len(set(expected.argmax(1))) == 2
    told = metadata(runs)
    assert json.loads(told["classes"]) == list(model.classes)
    assert json.loads(told["features"]) == model.preprocessing.names()
    assert told["stackae"] == stackae.__version__


def test_every_kind_of_layer_in_onnx_gives_the_same_logits(folder: Path, cli: Cli) -> None:
    model = stackae.load(folder / "runs" / "deep")
    assert model.classifier is not None
    path = shared(cli, folder, "deep", "onnx")
    runs, x = session(path), load_digits().images.astype(np.float32)

    logits, code = runs.run(["logits", "code"], {"rows": x})

    with torch.no_grad():
        expected = model.classifier(torch.from_numpy(x / np.float32(16))).numpy() / model.temperature
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert (logits.argmax(1) == expected.argmax(1)).all()
    np.testing.assert_allclose(code, model.encode(x), atol=1e-5)
    for few in (0, 1, 7):
        np.testing.assert_allclose(runs.run(["logits"], {"rows": x[:few]})[0], logits[:few], atol=1e-5)
    # Whoever gets the file need not know where it was made.
    assert b"/stackae/" not in path.read_bytes()


def test_a_run_without_a_classifier_exports_its_encoder(folder: Path, cli: Cli, tmp_path: Path) -> None:
    runs = session(exported(cli, folder, "bare", "onnx", tmp_path / "bare.onnx"))
    # In double precision, as each feature is scaled: what is small beside its mean would be lost before.
    x = load_digits().images.astype(np.float64)
    assert [output.name for output in runs.get_outputs()] == ["code"]
    assert "classes" not in metadata(runs)
    expected = stackae.load(folder / "runs" / "bare").encode(x)
    np.testing.assert_allclose(runs.run(None, {"rows": x})[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    "scaler",
    [
        StandardScaler(),
        MinMaxScaler(clip=True),
        QuantileTransformer(n_quantiles=57, output_distribution="normal", subsample=None),
    ],
    ids=lambda scaler: type(scaler).__name__,
)
def test_scalers_do_what_those_of_scikit_learn_do(scaler: Any) -> None:
    rng = np.random.default_rng(0)
    # Ties, of which some are the least, and a feature that is constant.
    x = np.column_stack([rng.normal(size=400), rng.poisson(1.0, 400), np.full(400, 3.0)])
    scaler.fit(x)
    new = np.concatenate([x, x + 1e-8, x + rng.normal(size=x.shape), 1e6 * x, -1e6 * x])
    made = scaler_module(scaler)(torch.from_numpy(new)).numpy()
    np.testing.assert_allclose(made, scaler.transform(new), rtol=1e-9, atol=1e-9)


def test_normal_quantiles_are_exact_in_the_middle_and_in_the_tails() -> None:
    rank = np.concatenate([np.linspace(0.001, 0.999, 999), np.geomspace(2e-7, 0.1, 50)])
    made = NormalQuantile()(torch.from_numpy(rank)).numpy()
    np.testing.assert_allclose(made, norm.ppf(rank), rtol=1e-13, atol=1e-15)


# ---- torch


@pytest.mark.parametrize("name", ["shop", "deep"])
def test_a_program_of_torch_gives_the_same_logits(name: str, folder: Path, cli: Cli) -> None:
    model = stackae.load(folder / "runs" / name)
    path = shared(cli, folder, name, "torch")
    program = torch.export.load(path).module()
    rows: Any = load_digits().images if name == "deep" else shop(300, 2)
    logits, probabilities, code = program(*tensors(name, rows))
    np.testing.assert_allclose(probabilities.detach(), model.predict_proba(rows), atol=1e-6)
    np.testing.assert_allclose(logits.softmax(1).detach(), probabilities.detach(), atol=1e-6)
    np.testing.assert_allclose(code.detach(), model.encode(rows), atol=1e-5)
    for few in (0, 1, 7):
        some = program(*tensors(name, rows[:few]))[0].detach()
        np.testing.assert_allclose(some, logits[:few].detach(), atol=1e-5)
    with zipfile.ZipFile(path) as parts:
        # Neither pickled tensors nor the paths of this machine.
        assert all(b"/stackae/" not in parts.read(part) for part in parts.namelist())
        assert not any(parts.getinfo(part).file_size for part in parts.namelist() if part.endswith(".pt"))
        (classes,) = (part for part in parts.namelist() if part.endswith("extra/classes"))
        assert json.loads(parts.read(classes)) == list(model.classes)


@pytest.mark.parametrize("used", [["age", "fee"], ["city"]])
def test_a_table_may_have_numbers_or_categories_alone(
    used: list[str], folder: Path, cli: Cli, tmp_path: Path
) -> None:
    rows = shop(200, 4)[[*used, "bought"]]
    rows.to_csv(tmp_path / "some.csv", index=False)
    text = "data: {source: some.csv, target: bought}\nlayers: [{width: 4}]\n" + TAIL
    (tmp_path / "some.yaml").write_text(text)
    for words in ("run some.yaml", "export runs/some --to onnx -o some.onnx"):
        assert cli(words.split(), tmp_path).returncode == 0
    done = cli(["export", "runs/some", "--to", "torch", "-o", "some.pt2"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    runs = session(tmp_path / "some.onnx")
    (given,) = (one.name for one in runs.get_inputs())
    expected = stackae.load(tmp_path / "runs" / "some").predict_proba(rows)
    probabilities = runs.run(["probabilities"], {given: fit_for(runs, rows)[given]})[0]
    np.testing.assert_allclose(probabilities, expected, atol=2e-5)


# ---- a folder for the Hub


@pytest.mark.parametrize("name", ["shop", "deep", "bare"])
def test_a_folder_for_the_hub_loads_as_the_run_does(
    name: str, folder: Path, cli: Cli, tmp_path: Path
) -> None:
    run, out = folder / "runs" / name, exported(cli, folder, name, "hf", tmp_path / "made")
    files = {path.name for path in out.iterdir()}
    assert files - {"preprocessing.skops"} == {"README.md", "config.json", "model.safetensors"}
    with safe_open(out / "model.safetensors", "pt") as tensors:
        assert tensors.metadata() == {"format": "pt"}
    one, other = stackae.load(run), stackae.load(out)
    rows: Any = shop(50, 3) if name == "shop" else load_digits().images[:50]
    np.testing.assert_array_equal(one.encode(rows), other.encode(rows))
    np.testing.assert_array_equal(one.errors(rows), other.errors(rows))
    if name == "bare":
        assert other.classifier is None
    else:
        np.testing.assert_array_equal(one.predict_proba(rows), other.predict_proba(rows))


def test_a_damaged_file_of_the_folder_is_noticed(folder: Path, cli: Cli, tmp_path: Path) -> None:
    out = exported(cli, folder, "shop", "hf", tmp_path / "made")
    content = (out / "model.safetensors").read_bytes()
    (out / "model.safetensors").write_bytes(content[:-9])
    with pytest.raises(stackae.errors.ArtifactError, match=r"model\.safetensors: damaged"):
        stackae.load(out)


def test_the_card_says_what_was_learnt_and_found(folder: Path, cli: Cli, tmp_path: Path) -> None:
    from ruamel.yaml import YAML

    out = exported(cli, folder, "shop", "hf", tmp_path / "made")
    results = json.loads((folder / "runs" / "shop" / "results.json").read_text())
    _, front, text = (out / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    told = YAML(typ="safe").load(front)
    accuracy = results["classifier"]["test"]["accuracy"]
    assert told["library_name"] == "stackae"
    assert "license" not in told
    (found,) = told["model-index"][0]["results"]
    assert found["metrics"][0] == {"type": "accuracy", "value": pytest.approx(accuracy, abs=1e-6)}
    assert found["dataset"]["name"] == "shop.csv"
    own = (folder / "runs" / "shop" / "model" / "README.md").read_text(encoding="utf-8")
    assert own.startswith("# shop\n")
    for written in (own, text):
        assert f"| pretrained | {accuracy:.2%} |" in written
        assert f"{results['data']['train']:,} training rows" in written
        assert "| `fee` | numeric, to a normal distribution by ranks | 0 |" in written
        assert "Classes: `no`, `yes`." in written
        assert str(folder) not in written
    assert "stackae.load('runs/shop')" in own
    assert "stackae.load('made')" in text


def test_names_in_a_card_mean_nothing_in_markdown_and_yaml() -> None:
    from huggingface_hub import ModelCard

    classes = ["a`|``\nb", "`c", "<b>*d*</b>"]
    config = Config.model_validate(
        {"data": {"source": "in/😀: 'q' \"#.csv", "test": "in/new.csv"}, "layers": [{"width": 2}]}
    )
    figures = {"test": {"accuracy": 0.5, "macro_f1": 0.25, "nll": 1.0, "ece": 0.0}}
    results = {
        "seed": 3,
        "data": {"train": 5, "labelled": 4, "folds": 2, "val": 3, "test": 2, "features": 9},
        "classifier": figures,
        "scratch": None,
        "blend": None,
        "calibration": None,
        "verdict": None,
        "reconstruction": {"test": {"mse": 0.5}},
        "environment": {"stackae": "0", "torch": "2"},
    }
    columns = [
        {"name": "x|`y`\nz", "type": "numeric", "missing": 1, "dropped": None},
        {"name": "_e_", "type": "categorical", "missing": 0, "dropped": "constant"},
    ]
    model = {
        "layers": [{"width": 2, "kind": "plain", "unit": "dense"}],
        "classes": classes,
        "preprocessing": {"type": "table", "columns": columns},
    }
    text = front_matter(config, results) + card(config, results, model, "x")

    found = ModelCard(text).data.eval_results
    source = "😀: 'q' \"#.csv"
    assert {one.dataset_name for one in found} == {source}
    values = {one.metric_type: one.metric_value for one in found}
    assert values == {"accuracy": 0.5, "f1": 0.25, "nll": 1.0, "ece": 0.0}
    assert "Trained with stackae 0, torch 2; seed 3." in text
    assert "3 for validation, 2 of `new.csv` for the test; 4 labels to learn from, in 2 folds. 9" in text
    assert f"`{source}`: 5 training rows, " in text
    assert "Classes: ```a`|`` b```, `` `c ``, `<b>*d*</b>`." in text
    assert "| ``x\\|`y` z`` | numeric | 1 |" in text
    assert "| `_e_` | not used: constant | 0 |" in text


def test_a_folder_is_not_exported_twice_and_holds_nothing_of_an_export_that_was_killed(
    folder: Path, cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "made.part").mkdir()
    (tmp_path / "made.part" / "left.txt").write_text("of before")
    out = exported(cli, folder, "shop", "hf", tmp_path / "made")
    assert "left.txt" not in {path.name for path in out.iterdir()}
    done = cli(["export", out, "--to", "hf", "-o", tmp_path / "again"], folder)
    assert done.returncode == 2
    assert done.stderr == f"{out}: was exported already; copy it, or name the folder of its run\n"


@pytest.fixture
def hub() -> Iterator[Any]:
    with serving() as server:
        yield server


def pushed(hub: Any, folder: Path, out: Path) -> Any:
    env = {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_TOKEN": "hf_stub",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
    }
    words = ["export", "runs/shop", "--to", "hf", "-o", out, "--push", "me/shop"]
    return carry_out(words, folder, env)


def test_a_folder_is_uploaded_to_a_private_repository(folder: Path, hub: Any, tmp_path: Path) -> None:
    out = tmp_path / "made"
    done = pushed(hub, folder, out)
    assert done.returncode == 0, done.stderr
    path, token, body = hub.asked[0]
    assert (path, token) == ("/api/repos/create", "Bearer hf_stub")
    created = json.loads(body)
    assert created["name"] == "shop"
    assert created.get("private", created.get("visibility") == "private")
    (commit,) = (body for path, _, body in hub.asked if "/commit/" in path)
    lines = [json.loads(line)["value"] for line in commit.splitlines()]
    sent = {line["path"]: base64.b64decode(line["content"]) for line in lines if "path" in line}
    assert sent == {path.name: path.read_bytes() for path in out.iterdir()}


def test_a_refused_upload_is_one_line_and_the_folder_stays(folder: Path, hub: Any, tmp_path: Path) -> None:
    hub.refusal = (403, {"error": "Forbidden"})
    done = pushed(hub, folder, tmp_path / "made")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("--push me/shop: the account may not write there; the folder")
    assert stackae.load(tmp_path / "made").classes == ("no", "yes")


# ---- what is refused


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("nowhere --to onnx -o x.onnx", "nowhere: no model in this folder"),
        ("nowhere --to hf -o x", "nowhere: no model in this folder"),
        ("runs/shop --to tflite -o x", "'tflite' is not one of 'onnx', 'torch', 'hf'"),
        ("runs/shop --to onnx -o x.pb", "x.pb: unknown format '.pb'; use one of .onnx"),
        ("runs/shop --to torch -o x.pt", "x.pt: unknown format '.pt'; use one of .pt2"),
        ("runs/shop --to hf -o runs", "runs: is there already"),
        ("runs/shop --to hf -o no/x", "no/x: there is no folder 'no'"),
        ("runs/shop --to onnx -o x.onnx --push me/x", "--push me/x: uploads a folder; write it with --to hf"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(
    words: str, says: str, folder: Path, cli: Cli
) -> None:
    before = sorted(folder.iterdir())
    done = cli(["export", *words.split()], folder)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert says in line
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(("extra", "words"), [("onnx", "onnx -o x.onnx"), ("hub", "hf -o x --push me/x")])
def test_a_missing_package_is_named_with_what_installs_it(
    extra: str, words: str, folder: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_room, "find_spec", lambda name: None)
    done = cli(["export", "runs/shop", "--to", *words.split()], folder)
    assert done.returncode == 2
    assert done.stderr.endswith(f"is missing; run: pip install 'stackae[{extra}]'\n")
    assert not (folder / "x").exists()


# ---- the page


def test_the_page_on_exported_models_works(folder: Path, cli: Cli, tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "export.md").read_text()
    runs = {"runs/shop": "shop", "runs/digits": "deep"}
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    for words in map(str.split, "".join(blocks).splitlines()):
        match words:
            case ["stackae", "export", run, "--to", "hf", "-o", out]:
                (tmp_path / "made").mkdir()
                exported(cli, folder, runs[run], "hf", tmp_path / "made" / out)
                (tmp_path / "made" / out).rename(tmp_path / out)
            case ["stackae", "export", run, "--to", to, "-o", out]:
                shutil.copyfile(shared(cli, folder, runs[run], to), tmp_path / out)
            case ["stackae", "predict", "USER/NAME", *_]:
                pass  # the Hub's own tests do that
            case _:
                pytest.fail(f"a command that this test does not know: {words}")
    names: dict[str, Any] = {}
    with contextlib.chdir(tmp_path):
        for found in re.finditer(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
            line = page.count("\n", 0, found.start()) + 1
            exec(compile("\n" * line + found[1], "docs/export.md", "exec"), names)

    expected = names["model"].predict_proba(names["frame"])
    np.testing.assert_allclose(names["probabilities"], expected, atol=1e-6)
    np.testing.assert_allclose(names["likely"], expected, atol=1e-6)
    digits = stackae.load(folder / "runs" / "deep")
    np.testing.assert_allclose(names["image_probabilities"], digits.predict_proba(names["images"]), atol=1e-5)
    assert {name.partition(".")[0] for name in names["weights"]} == {"encoder", "decoder", "classifier"}


def test_times_and_columns_of_one_value_are_exported(cli: Cli, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"when": pd.date_range("2020-01-01", periods=400, freq="55h"), "once": 7.0})
    rows.loc[rng.random(400) < 0.2, "when"] = pd.NaT
    rows.loc[rng.random(400) < 0.4, "once"] = np.nan
    rows["bought"] = np.where(rows["when"].dt.dayofweek > 2, "yes", "no")
    rows.to_csv(tmp_path / "some.csv", index=False)
    data = "data: {source: some.csv, target: bought, scaling: standard}\nlayers: [{width: 4}]\n"
    (tmp_path / "some.yaml").write_text(data + TAIL)
    for words in ("run some.yaml --quiet", "export runs/some --to onnx -o some.onnx"):
        assert cli(words.split(), tmp_path).returncode == 0
    assert cli(["export", "runs/some", "--to", "torch", "-o", "some.pt2"], tmp_path).returncode == 0
    model, runs = stackae.load(tmp_path / "runs" / "some"), session(tmp_path / "some.onnx")
    assert json.loads(metadata(runs)["features"]) == [
        *("when", "when missing", "once missing"),
        *(f"when {part} {function}" for part in ("hour", "weekday", "month") for function in ("sin", "cos")),
    ]
    seconds = (rows["when"] - pd.Timestamp(0)) / pd.Timedelta(seconds=1)
    numbers = np.column_stack([seconds, rows["once"]])
    assert json.loads(metadata(runs)["numbers"]) == ["when", "once"]
    expected = model.predict_proba(rows)
    np.testing.assert_allclose(runs.run(["probabilities"], {"numbers": numbers})[0], expected, atol=1e-5)
    program = torch.export.load(tmp_path / "some.pt2").module()
    np.testing.assert_allclose(program(torch.from_numpy(numbers))[1].detach(), expected, atol=1e-5)
