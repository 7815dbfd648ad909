"""A finished model: saved and loaded, it computes what its weights say, in the units of its source."""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from torch import nn

import stackae
from stackae.committee import Committee
from stackae.config import Config, LayerConfig
from stackae.data.read import read_source
from stackae.data.rows import CHUNK, ArrayRows
from stackae.errors import ArtifactError, DataError
from stackae.model import Model, load, novelty, save
from stackae.model.reading import Reading
from stackae.plan import make_plan, stacked
from stackae.shallow.units import DenseUnit
from stackae.stack import Classifier, Encoder

CLASSES = ("ant", "bee", "cat")
NOVELTY = 5.0
ACTIVATED: list[Callable[[np.ndarray], np.ndarray]] = [expit, np.tanh, expit]


class Saved:
    """A model with random weights in the folder of a run, and those weights."""

    def __init__(self, folder: Path, *, tied: bool = False, classifier: bool = True) -> None:
        # 8-bit images of 2 by 3, and layers as wide, so that they would fit in any order.
        x = np.random.default_rng(0).integers(0, 256, (60, 2, 3), dtype=np.uint8)
        np.savez(folder / "data.npz", x=x, y=np.array(CLASSES)[np.arange(60) % 3])
        names = ("sigmoid", "tanh", "sigmoid")
        config = Config.model_validate(
            {
                "data": {"source": str(folder / "data.npz")},
                "layers": [{"width": 6, "activation": name, "tied": tied} for name in names],
                "trainer": {"accelerator": "cpu", "precision": "32-true"},
            }
        )
        self.run = folder / "run"
        self.x = x
        torch.manual_seed(0)
        plan = make_plan(config, read_source(config.data))
        self.units = [layer.unit() for layer in plan.layers]
        tuned = [layer.unit() for layer in plan.layers]
        self.losses = [layer.loss for layer in plan.layers]
        self.classifier = Classifier(
            Encoder([u.encoder for u in tuned]), (6,), 3, dropout=0.5, input_dropout=0.5
        )
        with torch.no_grad():
            for module in [*self.units, self.classifier]:
                for name, parameter in module.named_parameters():
                    if parameter.ndim == 1 or name.startswith("head"):
                        parameter.normal_()
            # So that no class is the likeliest for every row.
            self.classifier.head.weight *= 10
            logits = self.classifier.eval()(torch.from_numpy(x / np.float32(255)))
            self.classifier.head.bias -= logits.mean(0)
        encoder, decoder = stacked(plan.layers, self.units)
        save(
            self.run / "model",
            [layer.settled for layer in plan.layers],
            encoder,
            decoder,
            self.classifier if classifier else None,
            preprocessing=plan.preprocessing,
            classes=CLASSES,
            novelty=NOVELTY,
            reading=Reading(),
        )

    def codes(self) -> list[np.ndarray]:
        x, found = self.x.reshape(60, 6) / 255.0, []
        for unit, function in zip(self.units, ACTIVATED, strict=True):
            x = function(x @ _array(unit.encoder[1].weight).T + _array(unit.encoder[1].bias))
            found.append(x)
        return found

    def reconstruction(self) -> np.ndarray:
        x = self.codes()[-1]
        for unit, loss in reversed(list(zip(self.units, self.losses, strict=True))):
            x = x @ _decoding(unit) + _array(unit.decoder[0].bias)
            # The squared error's targets are codes of a tanh.
            x = expit(x) if loss == "bernoulli" else np.clip(x, -1, 1)
        return 255 * x.reshape(60, 2, 3)

    def probabilities(self) -> np.ndarray:
        x = self.x.reshape(60, 6) / 255.0
        for layer, function in zip(self.classifier.encoder.layers, ACTIVATED, strict=True):
            x = function(x @ _array(layer[1].weight).T + _array(layer[1].bias))
        head = self.classifier.head
        return softmax(x @ _array(head.weight).T + _array(head.bias), axis=1)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def _decoding(unit: DenseUnit) -> np.ndarray:
    """The decoder's weight as (width, features)."""
    decoder = unit.decoder[0]
    return _array(decoder.weight).T if isinstance(decoder, nn.Linear) else _array(decoder.linear.weight)


@pytest.fixture(params=[False, True], ids=["untied", "tied"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Saved:
    return Saved(tmp_path, tied=request.param)


def test_a_loaded_model_computes_what_its_weights_say(saved: Saved) -> None:
    model = load(saved.run)
    assert saved.losses == ["bernoulli", "bernoulli", "squared_error"]
    np.testing.assert_allclose(model.predict_proba(saved.x), saved.probabilities(), atol=1e-5)
    for depth, codes in enumerate(saved.codes(), 1):
        np.testing.assert_allclose(model.encode(saved.x, layer=depth), codes, atol=1e-5)
    np.testing.assert_allclose(model.encode(saved.x), saved.codes()[-1], atol=1e-5)
    np.testing.assert_allclose(model.reconstruct(saved.x), saved.reconstruction(), atol=2e-3)


def test_predictions_are_the_names_of_the_likeliest_classes(saved: Saved) -> None:
    expected = np.array(CLASSES)[saved.probabilities().argmax(1)]
    assert len(set(expected)) > 1
    assert load(saved.run).predict(saved.x).tolist() == expected.tolist()


def test_nothing_is_dropped_or_drawn_in_prediction(saved: Saved) -> None:
    model = load(saved.run)
    assert np.array_equal(model.predict_proba(saved.x), model.predict_proba(saved.x))
    assert np.array_equal(model.encode(saved.x), model.encode(saved.x))
    used = Model(
        model.encoder.train(),
        model.decoder.train(),
        saved.classifier.train(),
        preprocessing=model.preprocessing,
        classes=CLASSES,
        code=(6,),
        generative=False,
        loss=model.loss,
        novelty=None,
    )
    np.testing.assert_allclose(used.predict_proba(saved.x), saved.probabilities(), atol=1e-5)


def test_tied_weights_are_tied_after_loading(tmp_path: Path) -> None:
    model = load(Saved(tmp_path, tied=True).run)
    for encoder, decoder in zip(model.encoder.layers, reversed(model.decoder.layers), strict=True):
        assert decoder[0][0].linear.weight is encoder[1].weight


def test_loading_draws_no_random_numbers(tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    before = torch.get_rng_state()
    load(saved.run)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("rows", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1])
def test_any_number_of_rows_is_taken_flat_or_in_shape(rows: int, tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    model = load(saved.run)
    x = np.resize(saved.x, (rows, 2, 3))
    expected = np.resize(saved.probabilities(), (rows, 3))
    np.testing.assert_allclose(model.predict_proba(x), expected, atol=1e-5)
    np.testing.assert_allclose(model.predict_proba(x.reshape(rows, 6)), expected, atol=1e-5)
    assert model.reconstruct(x.reshape(rows, 6)).shape == (rows, 2, 3)
    assert model.predict(x).shape == (rows,)


@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 2), (6,), (4, 2, 3, 1)])
def test_rows_of_another_shape_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    model = load(Saved(tmp_path).run)
    with pytest.raises(DataError, match=r"an array of shape .* this model takes \(rows, 2, 3\)"):
        model.predict(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((2, 3), r"give x\[None\]"),
        ((6,), r"give x\[None\]"),
        ((4, 2, 3, 1), r"give x.reshape\(-1, 2, 3\)"),
        ((4, 5), r"\(rows, 2, 3\)$"),
    ],
)
def test_rows_that_are_nearly_right_are_refused_with_what_makes_them_so(
    shape: tuple[int, ...], remedy: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=remedy):
        load(Saved(tmp_path).run).encode(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (np.nan, "row 2,050 of those given: nan is not a finite number"),
        (-np.inf, "row 2,050 of those given: -inf is no"),
        (1e300, r"row 2,050 of those given: 1e\+300 is no"),
        ("ant", "this model takes numbers: could not convert string to float: 'ant'; give numbers alone"),
    ],
)
def test_what_is_no_finite_number_is_refused_and_not_taken_for_the_first_class(
    wrong: Any, says: str, tmp_path: Path
) -> None:
    saved = Saved(tmp_path)
    x = np.resize(saved.x, (CHUNK + 9, 6)).astype(object if isinstance(wrong, str) else float)
    x[CHUNK + 1, 3] = wrong
    with pytest.raises(DataError, match=says):
        load(saved.run).predict(x)


def test_no_rows_make_nothing_of_the_right_shape(saved: Saved) -> None:
    model, none = load(saved.run), saved.x[:0]
    assert model.errors(none).shape == model.unlike(none).shape == (0,)
    assert [part.shape for part in (model.judge(none)[0], model.decode(np.empty((0, 6))))] == [
        (0, 3),
        (0, 2, 3),
    ]


@pytest.mark.parametrize("codes", [np.zeros((2, 5)), np.zeros(6)])
def test_codes_of_another_shape_are_refused(codes: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"codes of shape \(.* given; this model has \(rows, 6\)"):
        load(Saved(tmp_path).run).inverse_transform(codes)


def test_two_rows_are_interpolated_and_no_other_number(tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    with pytest.raises(DataError, match="3 rows given; interpolation goes from one to another, so give two"):
        load(saved.run).interpolate(saved.x[:3], 4)


def test_the_folder_of_the_model_in_a_run_is_loaded_too(tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    assert load(saved.run / "model").predict(saved.x).tolist() == load(saved.run).predict(saved.x).tolist()


@pytest.mark.filterwarnings("error")
def test_a_model_without_classes_is_loaded_without_a_word(tmp_path: Path) -> None:
    run = Saved(tmp_path, classifier=False).run
    _rewrite(run / "model" / "config.json", classes=[])
    assert load(run).classifier is None


def test_completion_offers_what_is_imported_only_when_it_is_used() -> None:
    assert set(stackae.__all__) <= set(dir(stackae))


def test_a_run_leaves_the_callers_generators_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "data: {source: digits}\nlayers: [{width: 4}]\npretrain: {epochs: 1}\nfinetune: {epochs: 1}\n"
    text += "compare: {scratch: false, probe: false}\ntracking: {wandb: disabled}\nreport: false\n"
    Path("few.yaml").write_text(text)
    # What is trained, and then what is taken from the store.
    for _ in range(2):
        before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]  # noqa: NPY002
        # One word is no sequence of letters.
        results = stackae.run("few.yaml", "seed=7")
        assert random.getstate() == before[0]
        assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]  # noqa: NPY002
        assert torch.equal(torch.get_rng_state(), before[2])
    assert results.seed == 7


@pytest.mark.parametrize("layer", [0, 4, -1, "first"])
def test_a_layer_that_is_not_there_is_refused(layer: Any, tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    with pytest.raises(ArtifactError, match=f"layer {layer!r} asked for; this encoder has layers 1 to 3"):
        load(saved.run).encode(saved.x, layer=layer)
    with pytest.raises(ArtifactError, match="this encoder has layers 1 to 3"):
        load(saved.run).code_names(layer)


def test_a_model_without_a_classifier_encodes_and_says_why_it_does_not_predict(tmp_path: Path) -> None:
    saved = Saved(tmp_path, classifier=False)
    model = load(saved.run)
    np.testing.assert_allclose(model.encode(saved.x), saved.codes()[-1], atol=1e-5)
    with pytest.raises(ArtifactError, match="no classifier; set 'finetune'"):
        model.predict(saved.x)


def test_saving_without_a_classifier_leaves_none_of_an_earlier_run(tmp_path: Path) -> None:
    run = Saved(tmp_path).run
    assert load(run).classifier is not None
    Saved(tmp_path, classifier=False)
    assert load(run).classifier is None


def test_the_networks_of_a_committee_are_saved_and_averaged(tmp_path: Path) -> None:
    one = Saved(tmp_path)
    members = [copy.deepcopy(one.classifier) for _ in range(3)]
    with torch.no_grad():
        for number, member in enumerate(members):
            member.head.bias += number * torch.randn(3, generator=torch.Generator().manual_seed(number))
    folder = tmp_path / "several"
    shutil.copytree(one.run, folder)
    model = load(one.run)
    encoder, decoder = model.encoder, model.decoder
    plan_layers = json.loads((one.run / "model" / "config.json").read_text())["layers"]
    save(
        folder / "model",
        [LayerConfig.model_validate(layer) for layer in plan_layers],
        encoder,
        decoder,
        Committee(members),
        preprocessing=model.preprocessing,
        classes=CLASSES,
        novelty=NOVELTY,
        reading=Reading(),
    )
    x = torch.from_numpy(one.x / np.float32(255))
    with torch.no_grad():
        expected = torch.stack([member.eval()(x).softmax(1) for member in members]).mean(0)
    found = load(folder)
    np.testing.assert_allclose(found.predict_proba(one.x), expected, atol=1e-6)
    assert not np.allclose(found.predict_proba(one.x), model.predict_proba(one.x), atol=1e-3)


def test_a_model_of_the_time_before_committees_is_loaded(tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    path = saved.run / "model" / "config.json"
    description = json.loads(path.read_text())
    expected = load(saved.run).predict_proba(saved.x)
    assert description.pop("networks") == 1
    path.write_text(json.dumps(description))
    np.testing.assert_array_equal(load(saved.run).predict_proba(saved.x), expected)


@pytest.mark.parametrize("networks", [0, 2, 101, 10**9, "3", None])
def test_networks_that_are_not_there_are_refused(networks: Any, tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    path = saved.run / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"networks": networks}))
    with pytest.raises(ArtifactError) as error:
        load(saved.run)
    assert "\n" not in str(error.value)


def test_codes_are_decoded_as_in_a_reconstruction_and_interpolated_in_a_line(tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    model, codes = load(saved.run), saved.codes()[-1]
    np.testing.assert_allclose(model.decode(codes), saved.reconstruction(), atol=2e-3)
    between = codes[0] + np.array([[0.0], [0.25], [0.5], [0.75], [1.0]]) * (codes[1] - codes[0])
    np.testing.assert_allclose(model.interpolate(saved.x[:2], 5), model.decode(between), atol=2e-3)


def test_features_of_all_layers_stand_side_by_side(saved: Saved) -> None:
    model, (first, *upper) = load(saved.run), saved.codes()
    expected = np.concatenate([first, *upper], axis=1)
    np.testing.assert_allclose(model.encode(saved.x, layer="all"), expected, atol=1e-5)
    assert model.code_names("all")[5:7] == ["layer_1_code_6", "layer_2_code_1"]
    assert len(model.code_names("all")) == expected.shape[1]

    pixels = saved.x.reshape(60, 6) / 255
    beside = model.encode(saved.x, 1, with_input=True)
    np.testing.assert_allclose(beside, np.concatenate([pixels, first], axis=1), atol=1e-5)
    assert model.code_names(1, with_input=True)[4:8] == ["1,1", "1,2", "code_1", "code_2"]


def test_errors_are_the_first_layers_loss_of_each_row(saved: Saved) -> None:
    model, x = load(saved.run), saved.x.reshape(60, 6) / 255.0
    guess = saved.reconstruction().reshape(60, 6) / 255.0
    expected = -(x * np.log(guess) + (1 - x) * np.log(1 - guess)).sum(axis=1)
    np.testing.assert_allclose(model.errors(saved.x), expected, rtol=1e-4)
    assert model.unlike(saved.x).tolist() == (expected > NOVELTY).tolist()
    assert 0 < model.unlike(saved.x).sum() < 60
    usual = novelty(model.encoder, model.decoder, model.loss, (saved.x / 255).astype(np.float32))
    np.testing.assert_allclose(usual, np.quantile(expected, 0.999), rtol=1e-4)


def test_rows_of_any_number_are_mapped_chunk_by_chunk(tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    model, x = load(saved.run), np.resize(saved.x, (2 * CHUNK + 9, 2, 3))
    given: list[int] = []

    class Counted(ArrayRows):
        def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
            for first, raw in super().chunks():
                given.append(len(raw))
                yield first, raw

    mapped = model.map(Counted(x), model.predict)
    first = next(mapped)
    assert given == [CHUNK]
    assert np.concatenate([first, *mapped]).tolist() == model.predict(x).tolist()


def test_a_model_that_was_saved_with_a_scale_alone_is_loaded(tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    expected = load(saved.run).predict_proba(saved.x)
    path = saved.run / "model" / "config.json"
    described = json.loads(path.read_text())
    del described["preprocessing"], described["novelty"]
    path.write_text(json.dumps(described | {"scale": 255.0}))
    model = load(saved.run)
    assert (model.predict_proba(saved.x) == expected).all()
    with pytest.raises(ArtifactError, match="which errors are usual; run its config again"):
        model.unlike(saved.x)


def test_only_a_variational_code_is_sampled(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="the last layer of this run is not variational"):
        load(Saved(tmp_path).run).sample(3)


# ---- what cannot be loaded


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ArtifactError, match=r"nothing: no model in this folder; name the folder of a finished"
    ):
        load(tmp_path / "nothing")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", ["encoder", "decoder", "classifier"])
def test_damaged_weights_are_named(name: str, tmp_path: Path) -> None:
    run = Saved(tmp_path).run
    path = run / "model" / f"{name}.safetensors"
    _truncate(path)
    with pytest.raises(ArtifactError, match=rf"{name}\.safetensors: damaged .*; run the config again"):
        load(run)


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_missing_weights_are_named(name: str, tmp_path: Path) -> None:
    run = Saved(tmp_path).run
    (run / "model" / f"{name}.safetensors").unlink()
    with pytest.raises(ArtifactError, match=rf"{name}\.safetensors: damaged or missing"):
        load(run)


def _rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_description_that_does_not_fit_the_weights_is_named(tmp_path: Path) -> None:
    run = Saved(tmp_path).run
    described = run / "model" / "config.json"
    _rewrite(described, shape=[5])
    with pytest.raises(ArtifactError, match=r"config\.json: damaged"):
        load(run)
    _rewrite(described, preprocessing={"type": "scaling", "shape": [5], "scale": 1.0, "range": [0, 1]})
    with pytest.raises(ArtifactError, match=r"encoder\.safetensors: damaged"):
        load(run)


def test_a_damaged_description_is_named(tmp_path: Path) -> None:
    run = Saved(tmp_path).run
    _truncate(run / "model" / "config.json")
    with pytest.raises(ArtifactError, match=r"config\.json: damaged; run the config again"):
        load(run)


def test_another_format_is_refused(tmp_path: Path) -> None:
    run = Saved(tmp_path).run
    _rewrite(run / "model" / "config.json", format=99)
    with pytest.raises(ArtifactError, match=r"format 99, this version reads 1; run it again"):
        load(run)
