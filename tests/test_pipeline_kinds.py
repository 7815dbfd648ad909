"""Every kind of layer through the whole main path, on small real data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import stackae
from stackae.build import build_corruption, build_objective, output_activation
from stackae.config import LayerConfig, SwapConfig
from stackae.errors import ConfigError, DataError, StackaeError
from stackae.export.folder import write_folder
from stackae.shallow.corruptions import Masking, Mix, Swap
from stackae.shallow.mixed import Block, Mixed
from stackae.shallow.objectives import Reconstruction

SHORT = [
    *("pretrain.epochs=8", "finetune.epochs=1", "data.labels={per_class: 5}"),
    *("report=false", "tracking.wandb=disabled"),
]
KINDS: dict[str, str] = {
    "plain": "{kind: plain, width: %d}",
    "denoising": "{kind: denoising, width: %d, corruption: {type: swap}}",
    "mix": (
        "{width: %d, emphasis: {}, corruption: {type: mix, parts: ["
        "{probability: 0.5, corruption: {type: salt_pepper}}, "
        "{probability: 0.5, corruption: {type: gaussian, sigma: 0.1}}]}}"
    ),
    "sparse": "{kind: sparse, width: %d, penalties: [{type: kl, rho: 0.2, beta: 0.05}, {type: l1}]}",
    "k_sparse": "{kind: k_sparse, width: %d, k: 12}",
    "contractive": "{kind: contractive, width: %d, penalties: [{type: contractive, lambda: 0.01}]}",
    "variational": "{kind: variational, width: %d, penalties: [{type: gaussian_kl, beta: 0.1}]}",
    "rbm": "{kind: rbm, width: %d}",
    "sparsely connected": "{kind: plain, width: %d, connectivity: 0.5, tied: true}",
}


def write(folder: Path, layers: list[str], more: str = "") -> Path:
    path = folder / "made.yaml"
    path.write_text(
        f"data: {{source: digits}}\nlayers: [{', '.join(layers)}]\n"
        f"pretrain: {{lr: 3.0e-3, batch_size: 20}}\n{more}"
    )
    return path


def carry_out(folder: Path, path: Path, *words: str) -> Any:
    return stackae.run(path, [*SHORT, *words], out=folder / "run", store=folder / "store")


@pytest.mark.parametrize("kind", KINDS)
def test_two_layers_of_each_kind_beat_the_mean_row(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path, [KINDS[kind] % 48, KINDS[kind] % 32])
    results = carry_out(tmp_path, path, "pretrain.epochs=4", "compare.probe=false", "compare.baselines=none")
    ratios = [stage["metrics"]["reconstruction_ratio"] for stage in results.stages[:2]]
    assert max(ratios) < 1, ratios


def test_conv_and_dense_and_gaussian_layers_mix_and_unroll_and_sample(tmp_path: Path) -> None:
    layers = [
        "{unit: conv, width: 4, pool: 2}",
        "{unit: conv, kind: plain, width: 6, stride: 2}",
        "{kind: plain, width: 16}",
        "{kind: variational, width: 4}",
    ]
    path = write(tmp_path, layers, "unroll: {epochs: 3, batch_size: 20}\n")
    results = carry_out(tmp_path, path, "pretrain.epochs=1", "report=true", "compare.baselines=none")
    by_name = {stage["stage"]: stage for stage in results.stages}
    assert list(by_name) == [
        "pretrain-1",
        "pretrain-2",
        "pretrain-3",
        "pretrain-4",
        "unroll",
        "finetune",
        "scratch",
        "probe",
    ]
    # What the run says of the unrolled stack's reconstruction is what the saved model does.
    model = stackae.load(tmp_path / "run")
    assert model.sample(3).shape == (3, 8, 8)
    assert [found["depth"] for found in results.probe] == [0, 1, 2, 3, 4]
    untrained = carry_out(tmp_path, path, "pretrain.epochs=0", "unroll.epochs=0", "finetune=null")
    assert results.reconstruction["test"]["mse"] < untrained.reconstruction["test"]["mse"]


def test_unrolling_makes_the_reconstruction_better_and_the_model_has_its_weights(tmp_path: Path) -> None:
    path = write(tmp_path, ["{kind: plain, width: 32, activation: sigmoid}", "{kind: plain, width: 8}"])
    shallow = carry_out(tmp_path, path, "finetune=null", "compare.probe=false")
    deep = carry_out(
        tmp_path, path, "finetune=null", "compare.probe=false", "unroll.epochs=20", "unroll.lr=3e-3"
    )
    assert [stage["reused"] for stage in deep.stages] == [True, True, False]
    assert deep.reconstruction["test"]["mse"] < shallow.reconstruction["test"]["mse"]
    test = np.load(next((tmp_path / "store").glob("data-*/features-test.npy")))
    again = stackae.load(tmp_path / "run").reconstruct(test * 16) / 16
    assert np.square(again - test).mean() == pytest.approx(deep.reconstruction["test"]["mse"], rel=1e-4)
    assert again.shape == test.shape


def test_untied_layers_are_unrolled_with_decoders_that_go_their_own_way(tmp_path: Path) -> None:
    layers = ["{unit: conv, kind: plain, width: 4, tied: true}", "{kind: plain, width: 16}", KINDS["rbm"] % 8]
    path = write(tmp_path, layers, "unroll: {epochs: 3, batch_size: 20}\n")
    words = ("finetune=null", "compare.probe=false", "pretrain.epochs=1")
    tied = carry_out(tmp_path, path, *words)
    results = carry_out(tmp_path, path, *words, "unroll.untie=true")
    assert [stage["reused"] for stage in results.stages] == [True, True, True, False]
    mse = results.reconstruction["test"]["mse"]
    assert mse != tied.reconstruction["test"]["mse"]
    model = stackae.load(tmp_path / "run")
    code, up = model.encoder.layers[2][1], model.decoder.layers[0][0][0]
    assert not torch.allclose(up.weight, code.weight.t())
    write_folder(tmp_path / "run", tmp_path / "hub")
    test = np.load(next((tmp_path / "store").glob("data-*/features-test.npy")))
    for loaded in (model, stackae.load(tmp_path / "hub")):
        assert np.square(loaded.reconstruct(test * 16) / 16 - test).mean() == pytest.approx(mse, rel=1e-4)


def test_an_overcomplete_layer_with_early_stopping_does_not_learn_the_identity(tmp_path: Path) -> None:
    path = write(tmp_path, ["{kind: denoising, width: 256}"])
    results = carry_out(tmp_path, path, "pretrain.epochs=60", "pretrain.patience=3", "finetune=null")
    stage = results.stages[0]
    assert stage["metrics"]["kept_epoch"] <= stage["epochs"]
    # The identity would have a ratio of 0 on rows of noise as well as on digits.
    noise = np.random.default_rng(0).uniform(0, 16, (200, 8, 8))
    back = stackae.load(tmp_path / "run").reconstruct(noise)
    assert np.square(back - noise).mean() > 5 * 256 * results.reconstruction["test"]["mse"]


def test_sample_writes_a_picture_and_interpolates(tmp_path: Path, cli: Any) -> None:
    carry_out(tmp_path, write(tmp_path, ["{kind: variational, width: 4}"]), "finetune=null")
    assert cli(["sample", "run", "-n", "9", "-o", "drawn.png"], tmp_path).returncode == 0
    assert Image.open(tmp_path / "drawn.png").size == (28, 28)
    done = cli(["sample", "run", "-n", "5", "--between", "0", "1", "-o", "way.npy"], tmp_path)
    assert done.returncode == 0
    way = np.load(tmp_path / "way.npy")
    test = np.load(next((tmp_path / "store").glob("data-*/features-test.npy")))[:2] * 16
    assert np.allclose(way[[0, -1]], stackae.load(tmp_path / "run").reconstruct(test), atol=1e-3)
    for words, said in (
        (["-o", "drawn.jpg"], "unknown format '.jpg'"),
        (["--between", "0", "9999", "-o", "x.npy"], "the test rows are 0 to 358"),
    ):
        done = cli(["sample", "run", *words], tmp_path)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert said in done.stderr


def test_a_run_that_is_not_variational_does_not_sample(tmp_path: Path, cli: Any) -> None:
    carry_out(tmp_path, write(tmp_path, ["{width: 4}"]), "finetune=null", "pretrain.epochs=1")
    done = cli(["sample", "run", "-o", "x.npy"], tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "kind: variational" in done.stderr


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (["{unit: conv, width: 4, kernel: 12, padding: 0}"], "kernel 12 does not fit (1, 8, 8)"),
        (
            ["{unit: conv, width: 4, stride: 4}", "{unit: conv, width: 4, padding: 0}"],
            "does not fit (4, 2, 2)",
        ),
        (["{unit: conv, width: 4, pool: 9}"], "pool 9 does not fit"),
        (["{kind: k_sparse, width: 4, k: 5}"], "k is 5"),
        (["{kind: variational, width: 4}", "{width: 4, loss: bernoulli}"], "loss: squared_error"),
        (["{kind: rbm, width: 4, activation: relu}"], "binary (activation: sigmoid) or Gaussian"),
        (
            ["{kind: rbm, width: 4, activation: linear}", "{kind: rbm, width: 4, loss: bernoulli}"],
            "needs inputs in [0, 1]",
        ),
        (["{kind: rbm, width: 4, unit: conv}"], "remove 'unit'"),
        (["{kind: sparse, width: 4, activation: relu}"], "use the penalty 'l1'"),
        (["{width: 4, penalties: [{type: gaussian_kl}]}"], "kind: variational"),
        (
            ["{width: 4, corruption: {type: mix, parts: [{probability: 0.5, corruption: {type: swap}}]}}"],
            "add up to 0.5",
        ),
        (["{kind: plain, width: 4, emphasis: {}}"], "emphasis needs a corruption"),
    ],
)
def test_what_does_not_fit_is_one_line(layers: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, DataError)) as caught:
        carry_out(tmp_path, write(tmp_path, layers))
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert issubclass(caught.type, StackaeError)


def test_results_of_a_run_without_labels_are_whole(tmp_path: Path) -> None:
    carry_out(tmp_path, write(tmp_path, ["{kind: rbm, width: 8}"]), "finetune=null", "pretrain.epochs=1")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["classifier"] is None
    assert results["verdict"] is None
    assert results["stages"][0]["metrics"]["val_free_energy"] != 0


# ---- tables

BLOCKS = (Block("numeric", 1, 0), Block("categorical", 3, 2), Block("binary", 1, 0))


def test_a_layer_on_a_table_is_scored_and_corrupted_by_its_columns() -> None:
    swap = {"type": "swap", "rate": 0.5}
    parts = [
        {"probability": 0.5, "corruption": swap},
        {"probability": 0.5, "corruption": {"type": "masking"}},
    ]
    columns = (0, 2, 2, 2, 0)
    for given, expected in (
        (swap, Swap(0.5, columns)),
        ({"type": "mix", "parts": parts}, Mix(((0.5, Swap(0.5, columns)), (0.5, Masking(0.25, columns))))),
    ):
        layer = LayerConfig.model_validate({"width": 4, "corruption": given})
        objective = build_objective(layer, (5,), (4,), "mixed", batch_size=10, blocks=BLOCKS)
        assert isinstance(objective, Reconstruction)
        assert objective.corruption == expected
        assert isinstance(objective.loss, Mixed)
        assert objective.loss.blocks == BLOCKS
    output = torch.randn(6, 5)
    made = output_activation("mixed", None, BLOCKS)(output)
    torch.testing.assert_close(made[:, 1:4], output[:, 1:4].softmax(1))
    torch.testing.assert_close(made[:, 4], output[:, 4].sigmoid())


def test_where_no_two_features_share_a_column_a_table_is_corrupted_as_an_array() -> None:
    blocks = (Block("numeric", 1, 0), Block("numeric", 1, 3))
    assert build_corruption(SwapConfig(type="swap", rate=0.5), blocks) == Swap(0.5)
