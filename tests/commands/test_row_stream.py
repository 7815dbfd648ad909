"""A finished run at work on rows in files: what is written, what is warned of, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Cli
from PIL import Image

import stackae
from stackae.config_file import load_config
from stackae.data.new_rows import read_rows

TABLE = """\
name: shop
data: {source: shop.csv, target: bought, drop: [note]}
layers: [{width: 12}, {width: 5}]
pretrain: {epochs: 2}
finetune: {epochs: 20, patience: null, dropout: 0.0}
compare: {scratch: false, probe: false}
report: false
tracking: {wandb: disabled}
"""
IMAGES = """\
name: digits
data: {source: digits}
layers: [{width: 8}]
pretrain: {epochs: 1}
finetune: null
compare: {probe: false}
report: false
tracking: {wandb: disabled}
"""


def shop(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, rows).astype(float)
    city = rng.choice(["Bern", "Köln", "Rom, Lazio"], rows)
    bought = np.where(age + 20 * (city == "Bern") + rng.normal(0, 5, rows) > 55, "yes", "no")
    age[rng.random(rows) < 0.05] = np.nan
    return pd.DataFrame({"age": age, "city": city, "bought": bought})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A folder with the runs `shop`, of a table, and `digits`, of images, which has no classifier."""
    folder = tmp_path_factory.mktemp("trained")
    shop(600, 0).assign(note="x").to_csv(folder / "shop.csv", index=False)
    for text in (TABLE, IMAGES):
        (folder / "run.yaml").write_text(text)
        done = cli(["run", "run.yaml", "--quiet"], folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    for name in ("shop", "digits"):
        shutil.copytree(trained / "runs" / name, tmp_path / name)
    return tmp_path


def use(cli: Cli, folder: Path, words: str) -> str:
    done = cli([*words.split(), "--quiet"], folder)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# ---- predict


def test_predictions_are_those_of_the_model_in_the_order_of_the_rows(folder: Path, cli: Cli) -> None:
    # More rows than are worked on at once, with the columns in another order.
    rows = shop(15_001, 1)[["city", "age"]]
    rows.to_csv(folder / "new.csv", index=False)
    model = stackae.load(folder / "shop")

    use(cli, folder, "predict shop new.csv -o found.csv")

    found = pd.read_csv(folder / "found.csv")
    assert list(found) == ["row", "class", "probability_no", "probability_yes", "unlike_training", "why"]
    np.testing.assert_array_equal(found["row"], np.arange(1, 15_002))
    np.testing.assert_allclose(found.iloc[:, 2:4].to_numpy(), model.predict_proba(rows), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(found["class"], model.predict(rows))
    np.testing.assert_array_equal(found["unlike_training"], model.unlike(rows))
    np.testing.assert_array_equal(found["why"].notna(), model.unlike(rows))


def test_all_formats_hold_the_same(folder: Path, cli: Cli) -> None:
    shop(5000, 2).to_csv(folder / "new.csv", index=False)
    for out in ("found.csv", "found.parquet", "found.npz"):
        use(cli, folder, f"predict shop new.csv -o {out}")
    printed = use(cli, folder, "predict shop new.csv -o -")

    text, table = pd.read_csv(folder / "found.csv"), pd.read_parquet(folder / "found.parquet")

    assert printed == (folder / "found.csv").read_text()
    pd.testing.assert_frame_equal(text, table, check_dtype=False, rtol=1e-6)
    with np.load(folder / "found.npz") as arrays:
        assert set(arrays) == {"row", "class", "probability", "unlike_training", "why"}
        np.testing.assert_array_equal(arrays["row"], table["row"])
        np.testing.assert_array_equal(arrays["class"], table["class"])
        np.testing.assert_array_equal(arrays["probability"][:, 1], table["probability_yes"])
        np.testing.assert_array_equal(arrays["why"], table["why"].fillna(""))
    assert sorted(path.name for path in folder.glob("found*")) == ["found.csv", "found.npz", "found.parquet"]


def test_labels_in_the_rows_change_no_prediction(folder: Path, cli: Cli) -> None:
    rows = shop(50, 3)
    rows.to_csv(folder / "with.csv", index=False)
    rows.drop(columns="bought").to_csv(folder / "without.csv", index=False)
    rows.assign(bought="perhaps").to_csv(folder / "other.csv", index=False)

    found = [use(cli, folder, f"predict shop {name}.csv -o -") for name in ("with", "without", "other")]

    assert found[0] == found[1] == found[2]


def test_names_from_a_file_are_kept_with_the_run(tmp_path: Path, cli: Cli) -> None:
    shop(100, 0).to_csv(tmp_path / "shop.csv", index=False, header=False)
    (tmp_path / "names.txt").write_text("age\ncity\nbought\n")
    (tmp_path / "run.yaml").write_text(TABLE.replace("drop: [note]", "columns: names.txt"))
    assert cli(["run", "run.yaml", "--quiet"], tmp_path).returncode == 0
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "names.txt").unlink()

    printed = use(cli, tmp_path / "elsewhere", "predict ../runs/shop ../shop.csv -o -")

    assert len(printed.splitlines()) == 101
    again = cli(["plan", "runs/shop/config.yaml"], tmp_path)
    assert again.stdout.count("reuse") == 4


def test_rows_unlike_the_training_data_are_flagged_and_counted(folder: Path, cli: Cli) -> None:
    rows = pd.DataFrame({"age": [40.0, 1000.0, 40.0, 1000.0], "city": ["Bern", "Bern", "Oslo", "Oslo"]})
    rows.to_csv(folder / "new.csv", index=False)

    done = cli(["predict", "shop", "new.csv", "-o", "found.csv"], folder)

    found = pd.read_csv(folder / "found.csv")
    assert found["unlike_training"].tolist() == [False, True, True, True]
    why = [set(str(text).split("; ")) - {"reconstruction"} for text in found["why"]]
    assert why[1:] == [{"out of range"}, {"unseen category"}, {"unseen category", "out of range"}]
    (line,) = done.stderr.splitlines()
    assert line.startswith("3 of 4 rows are unlike the training data (")
    assert "2 with unseen categories, 2 out of range); don't trust their predictions blindly" in line


def test_a_faulty_row_leaves_what_was_there_before(folder: Path, cli: Cli) -> None:
    rows = shop(5000, 4).astype({"age": object})
    rows.loc[4999, "age"] = "1e300"
    rows.to_csv(folder / "new.csv", index=False)
    (folder / "found.csv").write_text("before\n")
    there = sorted(folder.rglob("*"))

    done = cli(["predict", "shop", "new.csv", "-o", "found.csv"], folder)

    assert done.returncode == 2
    assert "'age'" in done.stderr
    assert (folder / "found.csv").read_text() == "before\n"
    assert sorted(folder.rglob("*")) == there


def test_images_are_told_by_their_files(folder: Path, cli: Cli) -> None:
    # More than are worked on at once, and names of several lengths.
    rng = np.random.default_rng(12)
    names = sorted([f"{n}.png" for n in range(1500)]) + sorted(f"b/{n:05}.png" for n in range(1500))
    (folder / "images" / "b").mkdir(parents=True)
    images = rng.integers(0, 17, (len(names), 8, 8), np.uint8)
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(folder / "images" / name)

    use(cli, folder, "reconstruct digits images -o errors.csv")
    use(cli, folder, "encode digits images -o codes.npz")
    use(cli, folder, "encode digits images -o codes.npy")

    model = stackae.load(folder / "digits")
    found = pd.read_csv(folder / "errors.csv")
    assert list(found) == ["file", "error"]
    assert found["file"].tolist() == names
    np.testing.assert_allclose(found["error"], model.errors(images), rtol=1e-5)
    with np.load(folder / "codes.npz") as arrays:
        assert arrays["file"].tolist() == names
        np.testing.assert_allclose(arrays["code"], np.load(folder / "codes.npy"))


@pytest.mark.parametrize(("trained", "given"), [(np.uint8, np.float64), (np.float64, np.uint8)])
def test_bytes_are_not_taken_for_numbers_up_to_1(
    trained: type, given: type, tmp_path: Path, cli: Cli
) -> None:
    images = np.random.default_rng(13).integers(0, 256, (60, 4, 4), np.uint8)
    of = {np.uint8: images, np.float64: images / 255}
    np.save(tmp_path / "own.npy", of[trained])
    np.save(tmp_path / "other.npy", of[given])
    (tmp_path / "run.yaml").write_text(IMAGES.replace("digits}", "own.npy}"))
    assert cli(["run", "run.yaml", "--quiet"], tmp_path).returncode == 0
    use(cli, tmp_path, "encode runs/digits own.npy -o codes.npy")

    done = cli(["encode", "runs/digits", "other.npy", "-o", "other-codes.npy"], tmp_path)

    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.startswith("'other.npy': ")
    assert "but this run learnt from" in done.stderr


# ---- what results are joined by


def test_results_stand_beside_columns_of_the_file_as_they_are_there(folder: Path, cli: Cli) -> None:
    rows = shop(15_001, 20)
    # What training drops, what it takes for numbers, and its target; longer and longer, as texts are.
    rows["note"] = [f" {'é' * (n // 1000)} 'a', \"b\" 1.0\n{n:05}" for n in range(len(rows))]
    rows["age"] = rows["age"].map(lambda age: "NA" if np.isnan(age) else f"{age:.2f}")
    rows.to_csv(folder / "new.csv", index=False)
    read = {"dtype": str, "keep_default_na": False}
    text = pd.read_csv(folder / "new.csv", **read)  # type: ignore[call-overload]

    for words in ("predict shop new.csv -o found", "encode shop new.csv -o codes"):
        for ending in ("csv", "parquet", "npz"):
            use(cli, folder, f"{words}.{ending} --keep note,age,bought")

    found = pd.read_csv(folder / "found.csv", **read)  # type: ignore[call-overload]
    assert list(found)[:5] == ["row", "note", "age", "bought", "class"]
    for results in (found, pd.read_parquet(folder / "codes.parquet"), dict(np.load(folder / "codes.npz"))):
        for name in ("note", "age", "bought"):
            np.testing.assert_array_equal(results[name], text[name])
    plain = pd.read_csv(folder / "codes.csv", **read).drop(columns=["note", "age", "bought"])  # type: ignore[call-overload]
    use(cli, folder, "encode shop new.csv -o plain.csv")
    pd.testing.assert_frame_equal(plain, pd.read_csv(folder / "plain.csv", **read))  # type: ignore[call-overload]


def test_kept_columns_of_parquet_keep_their_types(folder: Path, cli: Cli) -> None:
    rows = shop(3000, 21).drop(columns="bought")
    rows["note"] = np.arange(3000, dtype=np.int64) + 2**60
    rows["age"] = rows["age"].astype("Int64")
    rows.astype({"city": "category"}).to_parquet(folder / "new.parquet")

    for ending in ("csv", "parquet", "npz"):
        use(cli, folder, f"reconstruct shop new.parquet -o out.{ending} --keep note,age,city")

    kept = pd.read_parquet(folder / "out.parquet")
    assert kept["note"].dtype == np.int64
    for name in ("note", "city"):
        np.testing.assert_array_equal(kept[name], rows[name])
        np.testing.assert_array_equal(pd.read_csv(folder / "out.csv")[name], rows[name])
    np.testing.assert_array_equal(kept["age"], rows["age"].astype(float))
    with np.load(folder / "out.npz") as arrays:
        np.testing.assert_array_equal(arrays["note"], rows["note"])
        ages = ["" if pd.isna(age) else str(age) for age in rows["age"]]
        np.testing.assert_array_equal(arrays["age"], ages)


def test_a_kept_column_called_as_a_result_gets_a_name_of_its_own(folder: Path, cli: Cli) -> None:
    rows = shop(5, 22).drop(columns="bought").assign(note=range(5))
    rows.rename(columns={"note": "row"}).to_csv(folder / "new.csv", index=False)
    run = folder / "shop" / "config.yaml"
    run.write_text(run.read_text().replace("- note", "- row"))

    printed = use(cli, folder, "predict shop new.csv -o - --keep row,age").splitlines()

    assert printed[0].startswith("row,row_in_file,age,class,")
    assert printed[1].startswith('1,"0",')


def test_only_rows_unlike_the_training_data_are_listed(folder: Path, cli: Cli) -> None:
    rows = shop(9000, 23).assign(note=[f"n{n}" for n in range(9000)])
    strange = np.array([4, 5000, 8999])
    rows.loc[strange, "city"] = "Oslo"
    rows.to_csv(folder / "new.csv", index=False)
    use(cli, folder, "predict shop new.csv -o all.parquet --keep note")
    for ending in ("csv", "parquet", "npz"):
        use(cli, folder, f"predict shop new.csv -o some.{ending} --keep note --only-flagged")

    every, some = pd.read_parquet(folder / "all.parquet"), pd.read_parquet(folder / "some.parquet")

    assert set(strange + 1) <= set(some["row"])
    expected = every[every["unlike_training"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(some, expected)
    text = pd.read_csv(folder / "some.csv")
    pd.testing.assert_frame_equal(text, expected, check_dtype=False, rtol=1e-6)
    with np.load(folder / "some.npz") as arrays:
        np.testing.assert_array_equal(arrays["note"], expected["note"])
        np.testing.assert_array_equal(arrays["probability"][:, 1], expected["probability_yes"])


def test_where_no_row_is_flagged_there_are_the_columns_alone(folder: Path, cli: Cli) -> None:
    pd.DataFrame({"age": [40.0, 41.0], "city": "Bern", "note": "n"}).to_csv(folder / "new.csv", index=False)

    for ending in ("csv", "parquet", "npz"):
        use(cli, folder, f"predict shop new.csv -o none.{ending} --keep note --only-flagged")

    assert pd.read_csv(folder / "none.csv").shape == (0, 7)
    assert pd.read_parquet(folder / "none.parquet").shape == (0, 7)
    with np.load(folder / "none.npz") as arrays:
        assert arrays["probability"].shape == (0, 2)


def test_rows_of_arrays_are_counted_as_errors_count_them(folder: Path, cli: Cli) -> None:
    x = np.zeros((3000, 64))
    np.save(folder / "new.npy", x)
    use(cli, folder, "reconstruct digits new.npy -o errors.csv")
    x[2900] = np.nan
    np.save(folder / "new.npy", x)

    done = cli(["reconstruct", "digits", "new.npy", "-o", "x.csv"], folder)

    assert pd.read_csv(folder / "errors.csv")["row"].tolist() == list(range(3000))
    assert "row 2,900" in done.stderr


def test_rows_of_several_files_are_told_by_file_and_row(folder: Path) -> None:
    shop(3, 24).to_csv(folder / "a.csv", index=False)
    shop(2, 25).to_csv(folder / "b.csv", index=False)
    model, paths = stackae.load(folder / "shop"), [str(folder / name) for name in ("a.csv", "b.csv")]

    new = read_rows(paths, load_config(folder / "shop" / "config.yaml").data, model.preprocessing, ["city"])

    place = new.place(np.arange(1, 5))
    assert place["file"].tolist() == [paths[0], paths[0], paths[1], paths[1]]
    assert place["row"].tolist() == [2, 3, 1, 2]
    assert new.kept is not None
    cities = [*shop(3, 24)["city"], *shop(2, 25)["city"]]
    assert [*new.kept.next(4)["city"].to_pylist(), *new.kept.next(1)["city"].to_pylist()] == cities


# ---- encode, reconstruct


def test_features_are_those_of_the_layer_asked_for(folder: Path, cli: Cli) -> None:
    rows = shop(3000, 5)
    rows.to_parquet(folder / "new.parquet")
    model = stackae.load(folder / "shop")
    first, second = model.encode(rows, 1), model.encode(rows, 2)

    use(cli, folder, "encode shop new.parquet -o last.npy")
    use(cli, folder, "encode shop new.parquet -o first.npz --layer 1")
    use(cli, folder, "encode shop new.parquet -o all.parquet --layer all")

    np.testing.assert_allclose(np.load(folder / "last.npy"), second, atol=1e-6)
    np.testing.assert_allclose(np.load(folder / "first.npz")["code"], first, atol=1e-6)
    both = pd.read_parquet(folder / "all.parquet")
    np.testing.assert_allclose(both[[f"layer_1_code_{at}" for at in range(1, 13)]], first, atol=1e-6)
    np.testing.assert_allclose(both[[f"layer_2_code_{at}" for at in range(1, 6)]], second, atol=1e-6)
    assert (both.shape[1], both.columns[0]) == (18, "row")


def test_preprocessed_columns_stand_in_front_of_the_codes_by_their_names(folder: Path, cli: Cli) -> None:
    rows = shop(50, 6)
    rows.to_parquet(folder / "new.parquet")
    model = stackae.load(folder / "shop")
    use(cli, folder, "encode shop new.parquet -o all.parquet --layer all --with-input --keep age")
    use(cli, folder, "encode shop new.parquet -o first.npy --layer 1 --with-input")

    found, preprocessed = pd.read_parquet(folder / "all.parquet"), model.preprocessing.names()
    assert preprocessed[:2] == ["age", "age missing"]
    codes = [
        f"layer_{depth}_code_{unit}" for depth, width in ((1, 12), (2, 5)) for unit in range(1, width + 1)
    ]
    # What was kept of the file is the column that has another name.
    assert list(found.columns) == ["row", "age_in_file", *preprocessed, *codes]
    # By hand, from what the preprocessing was fitted to: medians, means and scales of scikit-learn.
    pipeline = model.preprocessing.transformer.named_transformers_["standard"]
    by_hand = pipeline.transform(rows[["age"]].to_numpy())[:, 0]
    np.testing.assert_allclose(found["age"], by_hand, atol=1e-6)
    np.testing.assert_array_equal(found["age missing"], rows["age"].isna())
    np.testing.assert_array_equal(found["city=Bern"], rows["city"] == "Bern")
    np.testing.assert_array_equal(found["age_in_file"], rows["age"])
    np.testing.assert_allclose(found[codes], model.encode(rows, "all"), atol=1e-6)
    np.testing.assert_allclose(np.load(folder / "first.npy"), found[[*preprocessed, *codes[:12]]], atol=1e-6)


def test_a_column_called_as_a_result_gets_another_name_in_front_of_codes(tmp_path: Path, cli: Cli) -> None:
    rng = np.random.default_rng(0)
    pd.DataFrame(rng.random((60, 2)), columns=["row", "code_1"]).to_csv(tmp_path / "own.csv", index=False)
    (tmp_path / "own.yaml").write_text(
        "data: {source: own.csv}\nlayers: [{width: 2}]\npretrain: {epochs: 1}\nfinetune: null\n"
        "report: false\ntracking: {wandb: disabled}\n"
    )
    use(cli, tmp_path, "run own.yaml")

    printed = use(cli, tmp_path, "encode runs/own own.csv -o - --with-input").splitlines()

    assert printed[0] == "row,row_input,code_1_input,code_1,code_2"


def test_the_error_of_a_row_is_the_loss_of_its_reconstruction(folder: Path, cli: Cli) -> None:
    x = np.random.default_rng(6).integers(0, 17, (2500, 8, 8), np.uint8)
    np.save(folder / "new.npy", x)

    use(cli, folder, "reconstruct digits new.npy -o errors.npy")

    # digits are in [0, 1] after division by 16, and so learnt by cross-entropy.
    made = np.clip(stackae.load(folder / "digits").reconstruct(x) / 16, 1e-7, 1 - 1e-7)
    loss = -(x / 16 * np.log(made) + (1 - x / 16) * np.log(1 - made)).sum((1, 2))
    np.testing.assert_allclose(np.load(folder / "errors.npy"), loss, rtol=1e-3)


def test_an_ending_in_capitals_is_the_same_format(folder: Path, cli: Cli) -> None:
    np.save(folder / "new.npy", np.zeros((3, 8, 8), np.uint8))

    use(cli, folder, "reconstruct digits new.npy -o DRAWN.PNG")

    assert Image.open(folder / "DRAWN.PNG").size == (3 * 9 + 1, 2 * 9 + 1)


def test_pictures_are_drawn_above_their_reconstructions(folder: Path, cli: Cli) -> None:
    x = np.random.default_rng(7).integers(0, 17, (13, 8, 8), np.uint8)
    np.save(folder / "new.npy", x)

    use(cli, folder, "reconstruct digits new.npy -o drawn.png")

    drawn = np.asarray(Image.open(folder / "drawn.png"))
    made = stackae.load(folder / "digits").reconstruct(x)
    assert drawn.shape == (4 * 9 + 1, 10 * 9 + 1)
    for number, (down, across) in {0: (0, 0), 9: (0, 9), 12: (2, 2)}.items():
        for image, line in ((x[number], down), (made[number], down + 1)):
            place = drawn[line * 9 + 1 : line * 9 + 9, across * 9 + 1 : across * 9 + 9]
            np.testing.assert_allclose(place, image / 16 * 255, atol=0.51)


# ---- evaluate


def test_figures_agree_with_predictions_compared_by_hand(folder: Path, cli: Cli) -> None:
    rows = shop(3000, 8)
    rows.loc[:9, "bought"] = None
    rows.to_csv(folder / "new.csv", index=False)
    use(cli, folder, "predict shop new.csv -o found.csv")
    found = pd.read_csv(folder / "found.csv")[10:]
    rows = rows[10:]

    figures = json.loads(use(cli, folder, "evaluate shop new.csv --json"))

    right = found["class"].to_numpy() == rows["bought"].to_numpy()
    yes, chance = (rows["bought"] == "yes").to_numpy(), found["probability_yes"].to_numpy()
    assert (figures["rows"], figures["without_label"]) == (2990, 10)
    assert figures["accuracy"] == pytest.approx(right.mean(), abs=1e-6)
    assert figures["error"] == pytest.approx(1 - right.mean(), abs=1e-6)
    assert figures["nll"] == pytest.approx(-np.log(np.where(yes, chance, 1 - chance)).mean(), rel=1e-3)
    # The share of pairs of a row of either class that are in the right order.
    pairs = chance[yes][:, None] - chance[~yes]
    assert figures["auc"] == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2, abs=1e-4)
    last = figures["per_class"][1]
    assert (last["class"], last["rows"]) == ("yes", yes.sum())
    assert last["recall"] == pytest.approx(right[yes].mean())
    assert last["precision"] == pytest.approx(right[found["class"] == "yes"].mean())
    assert figures["confusion"][1] == [(yes & ~right).sum(), (yes & right).sum()]


def test_a_person_sees_the_figures_and_each_class(folder: Path, cli: Cli) -> None:
    shop(200, 9).to_csv(folder / "new.csv", index=False)

    lines = use(cli, folder, "evaluate shop new.csv").splitlines()

    assert lines[0].startswith("200 rows: accuracy ")
    assert "AUC 0." in lines[0]
    assert lines[1].split() == ["class", "rows", "precision", "recall", "F1"]
    assert [line.split()[0] for line in lines[2:]] == ["no", "yes"]


# ---- bad input


def changed(**columns: object) -> Callable[[Path], object]:
    return lambda folder: shop(20, 10).assign(**columns).to_csv(folder / "new.csv", index=False)


def without(*names: str) -> Callable[[Path], object]:
    return lambda folder: shop(20, 10).drop(columns=[*names]).to_csv(folder / "new.csv", index=False)


def written(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def saved(x: np.ndarray) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / "new.npy", x)


def damaged_image(folder: Path) -> None:
    (folder / "images").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "images" / "a.png")
    whole = (folder / "images" / "a.png").read_bytes()
    (folder / "images" / "b.png").write_bytes(whole[: len(whole) // 2])


def large_image(folder: Path) -> None:
    (folder / "images").mkdir()
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(folder / "images" / "a.png")


def an_image(folder: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "a.png")


def lists(folder: Path) -> None:
    shop(20, 10).assign(note=[[1, 2]] * 20).to_parquet(folder / "new.parquet")


def not_finite(value: float) -> Callable[[Path], object]:
    x = np.zeros((3000, 64))
    x[2900, 3] = value
    return saved(x)


BAD: dict[str, tuple[Callable[[Path], object], str, tuple[str, ...]]] = {
    "columns absent": (without("age", "city"), "predict shop new.csv -o x.csv", ("'age', 'city'",)),
    "column extra": (changed(colour="red"), "predict shop new.csv -o x.csv", ("'colour'", "data.drop")),
    "cell that is no number": (changed(age="old"), "predict shop new.csv -o x.csv", ("'age'", "'old'")),
    "empty file": (written("new.csv", b""), "predict shop new.csv -o x.csv", ("new.csv", "empty")),
    "no rows": (written("new.csv", b"age,city\n"), "predict shop new.csv -o x.csv", ("no row",)),
    "no file": (changed(), "predict shop nwe.csv -o x.csv", ("nwe.csv",)),
    "arrays for a table": (saved(np.zeros((3, 2))), "predict shop new.npy -o x.csv", ("table", "new.npy")),
    "a table for images": (changed(), "encode digits new.csv -o x.npy", ("table", "new.csv")),
    "another shape": (saved(np.zeros((3, 7))), "encode digits new.npy -o x.npy", ("(7,)", "(8, 8)")),
    "a damaged image": (damaged_image, "encode digits images -o x.npy", ("b.png",)),
    "an image too large": (large_image, "encode digits images -o x.npy", ("a.png", "9 by 8")),
    "no such folder": (changed(), "predict shop new.csv -o no/x.csv", ("'no'",)),
    "NaN in an array": (not_finite(np.nan), "encode digits new.npy -o x.npy", ("new.npy", "row 2,900")),
    "infinity": (not_finite(-np.inf), "reconstruct digits new.npy -o x.npy", ("new.npy", "row 2,900")),
    "beyond float32": (not_finite(1e300), "encode digits new.npy -o x.npy", ("new.npy", "row 2,900")),
    "one image": (an_image, "encode digits a.png -o x.npy", ("a.png", "name the folder")),
    "the rows themselves": (changed(), "predict shop new.csv -o ./new.csv", ("new.csv", "overwritten")),
    "no ending": (changed(), "predict shop new.csv -o x", ("x: has no ending", ".parquet")),
    "this folder": (changed(), "predict shop new.csv -o .", (".: is a folder",)),
    "whose settings": (
        changed(colour=1),
        "predict shop new.csv -o x.csv",
        ("data.drop of the run's config",),
    ),
    "a folder": (lambda folder: (folder / "x.csv").mkdir(), "predict shop new.csv -o x.csv", ("x.csv",)),
    "unknown ending": (changed(), "predict shop new.csv -o x.json", ("'.json'", ".parquet")),
    "no pictures of a table": (changed(), "reconstruct shop new.csv -o x.png", ("x.png", ".npy")),
    "no run": (changed(), "predict runs/none new.csv -o x.csv", ("runs/none", "finished run")),
    "no classifier": (saved(np.zeros((3, 64))), "predict digits new.npy -o x.csv", ("classifier",)),
    "no such layer": (changed(), "encode shop new.csv -o x.npy --layer 3", ("layers 1 to 2",)),
    "no layer's number": (changed(), "encode shop new.csv -o x.npy --layer last", ("'last'", "'all'")),
    "kept of an array": (saved(np.zeros((3, 64))), "encode digits new.npy -o x.csv --keep a", ("new.npy",)),
    "kept in an array": (changed(), "encode shop new.csv -o x.npy --keep age", ("x.npy", ".parquet")),
    "kept in a picture": (changed(), "reconstruct digits new.csv -o x.png --keep age", ("x.png", ".csv")),
    "kept but absent": (changed(), "predict shop new.csv -o x.csv --keep ages", ("--keep", "mean 'age'")),
    "kept without a name": (changed(), "predict shop new.csv -o x.csv --keep age,,city", ("'age,,city'",)),
    "kept lists": (lists, "predict shop new.parquet -o x.csv --keep note", ("'note'", "list<", ".parquet")),
    "no labels": (without("bought"), "evaluate shop new.csv", ("new.csv", "no row has a label")),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_writes_nothing(case: str, folder: Path, cli: Cli) -> None:
    prepare, words, says = BAD[case]
    prepare(folder)
    there = sorted(folder.rglob("*"))

    done = cli(words.split(), folder)

    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    missing = [part for part in says if part not in done.stderr]
    assert not missing, f"{missing} not in: {done.stderr}"
    assert sorted(folder.rglob("*")) == there


def test_an_unknown_class_is_named_with_its_row(folder: Path, cli: Cli) -> None:
    rows = shop(3000, 11)
    rows.loc[2500, "bought"] = "maybe"
    rows.to_csv(folder / "new.csv", index=False)

    done = cli(["evaluate", "shop", "new.csv"], folder)

    assert done.returncode == 2
    assert "new.csv: data row 2,501 has the label 'maybe'" in done.stderr
    assert "'no', 'yes'" in done.stderr


# ---- images


def test_new_images_are_shown_as_those_that_were_learnt_from(tmp_path: Path, cli: Cli) -> None:
    rng = np.random.default_rng(0)
    stored: dict[str, Image.Image] = {}
    for number in range(24):
        pixels = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
        pixels[:, :4] = 255 * (number % 2)
        stored[f"{'ab'[number % 2]}/{number:02}.png"] = Image.fromarray(pixels)
    exif, deep = Image.Exif(), Image.fromarray(np.full((6, 9), 65_535, np.uint16))
    exif[0x0112] = 8
    for name, image in stored.items():
        for folder in ("train", "plain", "other"):
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / "train" / name)
        image.save(tmp_path / "plain" / name)
        # On its side, and with white where it is transparent.
        clear = Image.new("L", image.size, 255)
        clear.paste(0, (0, 0, 2, 6))
        image.paste((255, 255, 255), (0, 0, 2, 6))
        image.save(tmp_path / "plain" / name)
        image.paste((0, 0, 0), (0, 0, 2, 6))
        image.putalpha(clear)
        image.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "other" / name, exif=exif)
    Image.new("RGB", (9, 6), "white").save(tmp_path / "plain" / "deep.png")
    deep.save(tmp_path / "other" / "deep.png")
    config = IMAGES.replace("source: digits", "source: train").replace("null", "{}")
    (tmp_path / "run.yaml").write_text(config)
    done = cli(["run", "run.yaml", "--quiet", "finetune.epochs=2", "compare.scratch=false"], tmp_path)
    assert done.returncode == 0, done.stderr

    plain, other = (cli(["predict", "runs/digits", name, "-o", "-"], tmp_path) for name in ("plain", "other"))

    assert plain.stdout == other.stdout
    assert len(plain.stdout.splitlines()) == 26
    warning = "warning: images: 1 of 16 bits scaled to 8 (as .npy they keep all)\n"
    assert other.stderr == warning + plain.stderr
    assert cli(["encode", "runs/digits", "other", "-o", "-", "--quiet"], tmp_path).stderr == ""
