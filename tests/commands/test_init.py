"""Data that nobody has described: what `inspect` says of them, and whether what `init` writes runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Cli
from PIL import Image

from stackae.config import Config
from stackae.config_file import load_config
from stackae.data.read import read_source

QUICK = "pretrain.epochs=1 finetune.epochs=1 layers.0.width=8 layers.1.width=4 tracking.wandb=disabled"


def init(cli: Cli, folder: Path, words: str) -> Config:
    done = cli(["init", *words.split(), "-o", "my.yaml"], folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "stackae run my.yaml" in done.stdout
    return load_config(folder / "my.yaml")


def shop(rows: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 80, rows),
            "city": rng.choice(["Bern", "Rom"], rows),
            "label": rng.choice(["yes", "no"], rows),
        }
    )


@pytest.mark.parametrize("target", ["label", None])
def test_a_table_s_config_runs_as_it_is(target: str | None, tmp_path: Path, cli: Cli) -> None:
    shop().to_csv(tmp_path / "shop.csv", index=False)
    init(cli, tmp_path, "shop.csv" + (f" --target {target}" if target else ""))
    words = QUICK if target else QUICK.replace("finetune.epochs=1", "")

    done = cli(["run", "my.yaml", "--quiet", *words.split()], tmp_path)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "my" / "model" / "classifier.safetensors").exists() == (target is not None)


def test_a_table_without_header_gets_names_and_its_sign_for_a_missing_value(tmp_path: Path, cli: Cli) -> None:
    # As in adult.data: blanks behind commas, and a question mark where a value is missing.
    rows = [
        f"{20 + n % 40}, {'?' if n % 7 == 0 else 'ab'[n % 2]}, {n % 5}, {'<>'[n % 2]}50K" for n in range(99)
    ]
    (tmp_path / "people.data").write_text("\n".join(rows) + "\n")

    config = init(cli, tmp_path, "people.data --target c4")

    assert config.data.columns == ("c1", "c2", "c3", "c4")
    source = read_source(config.data.model_copy(update={"source": str(tmp_path / "people.data")}))
    assert source.columns is not None
    assert [(column.type, column.missing) for column in source.columns] == [
        ("numeric", 0),
        ("categorical", 15),
        ("numeric", 0),
    ]
    assert source.classes == ("<50K", ">50K")


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a,b,label\n1,2,x\n3,4,y\n5,6,x\n", None),
        ("0,1,2,label\n1,2,5,x\n3,4,6,y\n5,6,9,x\n", None),
        ("x,y,x\nx,x,y\ny,x,y\n", ("c1", "c2", "c3")),
        ("x,s\ny,t\nx,t\ny,s\n", ("c1", "c2")),
        ("1;2;x\n3;4;y\n5;6;x\n", ("c1", "c2", "c3")),
        ("1\t2\tx\n3\t4\ty\n5\t6\tx\n", ("c1", "c2", "c3")),
        ("| made by hand\n1,2,x\n3,4,y\n5,6,x\n", ("c1", "c2", "c3")),
        ("# made by hand\na,b,label\n1,2,x\n3,4,y\n5,6,x\n", None),
        ("#a,b,label\n1,2,x\n3,4,y\n5,6,x\n", None),
        ("label,kind,n\nlabel,kind,1\nkind,label,2\nkind,label,5\n", None),
    ],
)
def test_a_header_is_told_from_a_row(
    text: str, columns: tuple[str, ...] | None, tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "my.csv").write_text(text)

    done = cli(["inspect", "my.csv"], tmp_path)

    assert done.returncode == 0, done.stderr
    assert ("data.columns" in done.stdout) == (columns is not None)
    for name in columns or ("label",):
        assert f"\n{name} " in done.stdout


def test_a_header_of_years_is_one_where_the_target_is_in_it(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "my.csv").write_text("land,2001,2002,label\n" + "x,1,2,yes\ny,4,3,no\n" * 20)

    config = init(cli, tmp_path, "my.csv --target label")

    assert config.data.columns is None


def test_columns_that_number_the_rows_are_left_out(tmp_path: Path, cli: Cli) -> None:
    # As pandas writes its index, and another one; `age` counts up to the last row but one.
    table = shop().assign(number=range(1001, 1201), age=[*range(199), 7])
    table.to_csv(tmp_path / "shop.csv")

    config = init(cli, tmp_path, "shop.csv --target label")

    assert config.data.drop == ("column 1", "number")
    text = (tmp_path / "my.yaml").read_text()
    assert "'column 1' numbers the rows; 'number' numbers the rows" in text
    assert "not used" not in text


def test_parquet_columns_of_other_types_are_left_out(tmp_path: Path, cli: Cli) -> None:
    shop().assign(tags=[["a", "b"]] * 200).to_parquet(tmp_path / "shop.parquet")

    config = init(cli, tmp_path, "shop.parquet --target label")

    assert config.data.drop == ("tags",)
    assert cli(["plan", "my.yaml"], tmp_path).returncode == 0


def test_infinite_parquet_numbers_are_missing_where_inf_stands_for_that(tmp_path: Path, cli: Cli) -> None:
    shop().assign(rate=[np.inf, -np.inf, *(np.arange(198) / 7)]).to_parquet(tmp_path / "shop.parquet")

    config = init(cli, tmp_path, "shop.parquet --target label")

    assert {"inf", "-inf"} <= set(config.data.missing)
    columns = read_source(config.data.model_copy(update={"source": str(tmp_path / "shop.parquet")})).columns
    assert columns is not None
    assert [(column.name, column.missing) for column in columns if column.missing] == [("rate", 2)]


@pytest.mark.parametrize("header", [True, False])
def test_decimal_commas_are_found(header: bool, tmp_path: Path, cli: Cli) -> None:
    table = shop().assign(pay=np.arange(200) / 8)
    table.to_csv(tmp_path / "shop.csv", index=False, sep=";", decimal=",", header=header)

    config = init(cli, tmp_path, f"shop.csv --target {'label' if header else 'c3'}")

    assert config.data.decimal == ","
    columns = read_source(config.data.model_copy(update={"source": str(tmp_path / "shop.csv")})).columns
    assert columns is not None
    pay = columns[-1]
    assert (pay.type, pay.low, pay.high) == ("numeric", 0, 199 / 8)


@pytest.mark.parametrize("cells", ["1,000 2,500", "1,2;3 0,5;x", "1.5 2.5"])
def test_other_commas_are_left_alone(cells: str, tmp_path: Path, cli: Cli) -> None:
    one, other = cells.split()
    (tmp_path / "my.csv").write_text("a,c,label\n" + f'1,"{one}",x\n1,"{other}",y\n2,"1,2,3",y\n' * 20)

    done = cli(["inspect", "my.csv", "--target", "label"], tmp_path)

    assert "decimal comma" not in done.stdout


def test_a_column_of_numbers_with_other_cells_is_taken_as_it_can_be(tmp_path: Path, cli: Cli) -> None:
    table = shop().astype({"age": object}).assign(code=range(200)).astype({"code": object})
    table.loc[3, "age"], table.loc[5, "code"] = "unknown", "A17"
    table.to_csv(tmp_path / "shop.csv", index=False)

    config = init(cli, tmp_path, "shop.csv --target label")

    assert {"unknown", "A17"} <= set(config.data.missing)
    assert config.data.types == {}
    assert "'code' has numbers, but also 'A17'" in (tmp_path / "my.yaml").read_text()
    assert cli(["plan", "my.yaml"], tmp_path).returncode == 0


def test_names_that_mean_something_in_yaml_are_kept(tmp_path: Path, cli: Cli) -> None:
    folder = tmp_path / "it's: here"
    folder.mkdir()
    table = shop().rename(columns={"label": "yes: #1"})
    table["null"] = ["n/a" if n % 9 == 0 else str(n % 3) for n in range(200)]
    table.to_csv(folder / "shop.csv", index=False)

    done = cli(["init", "it's: here/shop.csv", "--target", "yes: #1", "-o", "my.yaml"], tmp_path)

    assert done.returncode == 0, done.stderr
    data = load_config(tmp_path / "my.yaml").data
    assert (data.source, data.target) == ("it's: here/shop.csv", "yes: #1")
    assert {"", "NA", "n/a"} <= set(data.missing)


def test_a_column_that_may_have_the_labels_is_proposed(tmp_path: Path, cli: Cli) -> None:
    shop().to_csv(tmp_path / "shop.csv", index=False)
    config = init(cli, tmp_path, "shop.csv")
    assert (config.data.target, config.finetune) == (None, None)

    # The person does what the comments say.
    text = (tmp_path / "my.yaml").read_text().replace("  # target: label", "  target: label")
    lines = [line for line in text.splitlines() if not line.startswith("finetune: null")]
    (tmp_path / "my.yaml").write_text("\n".join(lines))

    done = cli(["plan", "my.yaml"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "finetune" in done.stdout


def test_a_test_file_that_is_named_later_is_taken_as_a_whole(tmp_path: Path, cli: Cli) -> None:
    shop().to_csv(tmp_path / "shop.csv", index=False)
    shop(50).to_csv(tmp_path / "test.csv", index=False)
    config = init(cli, tmp_path, "shop.csv --target label")
    assert (config.data.split.val, config.data.split.test) == (0.1, None)

    done = cli(["plan", "my.yaml", "data.test=test.csv"], tmp_path)

    assert " 50 test rows;" in done.stdout


def test_cells_of_several_lines_are_shown_in_one(tmp_path: Path, cli: Cli) -> None:
    shop().assign(note=["two\nlines", "one"] * 100).to_csv(tmp_path / "shop.csv", index=False)

    done = cli(["inspect", "shop.csv"], tmp_path)

    assert "two lines, one " in done.stdout


def images(folder: Path, sizes: list[tuple[int, int]]) -> None:
    for number in range(20):
        inner = folder / "ab"[number % 2]
        inner.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (*sizes[number % len(sizes)], 3), np.uint8)
        Image.fromarray(pixels).save(inner / f"{number:02}.png")


@pytest.mark.parametrize(
    ("sizes", "resized"), [([(8, 6)], None), ([(8, 6), (8, 6), (9, 9)], (8, 6)), ([(96, 192)], (32, 64))]
)
def test_images_are_resized_where_they_differ_or_are_large(
    sizes: list[tuple[int, int]], resized: tuple[int, int] | None, tmp_path: Path, cli: Cli
) -> None:
    images(tmp_path / "pictures", sizes)

    config = init(cli, tmp_path, "pictures")

    assert config.data.image_size == resized
    assert cli(["plan", "my.yaml"], tmp_path).returncode == 0


def test_folders_called_train_and_test_are_the_parts(tmp_path: Path, cli: Cli) -> None:
    images(tmp_path / "pictures" / "train", [(8, 8)])
    images(tmp_path / "pictures" / "test", [(8, 8)])

    config = init(cli, tmp_path, "pictures")
    done = cli(["inspect", "pictures"], tmp_path)

    assert (config.data.source, config.data.test) == ("pictures/train", "pictures/test")
    assert done.stdout.splitlines()[0] == (
        "pictures: images, 20 rows, 20 for the test, 8 by 8 pixels (height by width), rgb"
    )
    assert [line.split() for line in done.stdout.splitlines()[1:3]] == [
        ["mode", "images", "use"],
        ["rgb", "40", "as", "it", "is"],
    ]
    assert done.stdout.splitlines()[3] == "2 classes: a 20, b 20"


def test_modes_of_images_are_counted_and_what_becomes_of_them(tmp_path: Path, cli: Cli) -> None:
    images(tmp_path / "pictures", [(8, 8)])
    grey, ink = np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, image in {
        "0.png": Image.fromarray(grey),
        "1.png": Image.fromarray(grey),
        "2.png": Image.fromarray(grey.astype(np.uint16)),
        "3.png": Image.fromarray(ink, "RGBA"),
        "4.jpg": Image.fromarray(ink, "CMYK"),
    }.items():
        image.save(tmp_path / "pictures" / "a" / name, exif=exif if name == "1.png" else b"")

    done = cli(["inspect", "pictures"], tmp_path)
    made = cli(["init", "pictures", "-o", "my.yaml"], tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert done.stdout.startswith("pictures: images, 25 rows, 8 by 8 pixels (height by width), rgb\n")
    assert [" ".join(words) for line in lines[2:8] for words in [" ".join(line).split()]] == [
        "rgb 20 as it is",
        "grey 1 converted to rgb",
        "grey, turned 1 turned upright, converted to rgb",
        "grey, 16 bits 1 scaled to 8 bits, converted to rgb",
        "rgb, transparent 1 laid on white",
        "cmyk 1 converted to rgb",
    ]
    assert (made.returncode, made.stderr) == (0, "")
    assert (
        "# images: 1 of 16 bits scaled to 8 (as .npy they keep all), 1 of cmyk converted to rgb\n"
        in (tmp_path / "my.yaml").read_text()
    )


def test_labels_of_images_may_stand_in_a_table(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "pictures").mkdir()
    for number in range(40):
        pixels = np.full((8, 8), 255 * (number % 2), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number:02}.png")
    rows = [f"{number:02}.png,{['black', 'white'][number % 2]}\n" for number in range(40)]
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(rows))

    plain = cli(["inspect", "pictures"], tmp_path)
    config = init(cli, tmp_path, "pictures --target labels.csv")
    done = cli(["run", "my.yaml", "--quiet", *QUICK.split()], tmp_path)
    predicted = cli(["predict", "runs/my", "pictures", "-o", "found.csv"], tmp_path)

    assert plain.stdout.endswith(
        "no labels; --target FILE.csv names a table with the files and their labels\n"
    )
    assert config.data.target == "labels.csv"
    assert (done.returncode, done.stderr) == (0, "")
    assert predicted.returncode == 0
    found = pd.read_csv(tmp_path / "found.csv")
    assert list(found)[:4] == ["file", "class", "probability_black", "probability_white"]


def test_arrays_are_scaled_where_they_are_not_between_0_and_1(tmp_path: Path, cli: Cli) -> None:
    x = np.random.default_rng(0).random((50, 6), np.float32)
    np.savez(tmp_path / "unit.npz", x=x, y=np.arange(50) % 2)
    np.savez(tmp_path / "wide.npz", x=100 * x)

    done = cli(["inspect", "wide.npz"], tmp_path)
    unit = init(cli, tmp_path, "unit.npz")
    (tmp_path / "my.yaml").unlink()
    wide = init(cli, tmp_path, "wide.npz")

    assert (unit.data.scaling, wide.data.scaling) == (None, "standard")
    assert unit.finetune is not None
    assert wide.finetune is None
    assert done.stdout.startswith(f"wide.npz: arrays, 50 rows of 6, float32, from {100 * x.min():g} to ")


def test_each_column_s_use_is_shown(tmp_path: Path, cli: Cli) -> None:
    table = shop().assign(one=1, name=[f"n{n}" for n in range(200)])
    table["age"] = table["age"].where(table["age"] > 30)
    table.to_csv(tmp_path / "shop.csv", index=False)

    lines = cli(["inspect", "shop.csv", "--target", "label"], tmp_path).stdout.splitlines()

    use = {line.split()[0]: line for line in lines}
    assert lines[0].startswith("shop.csv: a table, 200 rows, 4 columns, 4 features")
    missing = int(table["age"].isna().sum())
    assert use["age"].split()[1:3] == ["numeric", str(missing)]
    assert f"{table['age'].min():g} to {table['age'].max():g}" in use["age"]
    assert "filled with the median and marked" in use["age"]
    assert "one-hot, 2 features" in use["city"]
    assert "not used: constant" in use["one"]
    assert "not used: identifier" in use["name"]
    counts = table["label"].value_counts()
    assert lines[-1] == "2 classes: " + ", ".join(f"{name} {count}" for name, count in counts.items())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("init shop.csv -o there.yaml", "there.yaml: is there already"),
        ("init shop.csv -o no/my.yaml", "no folder 'no'"),
        ("init none.csv", "none.csv"),
        ("init shop.csv --target labl", "did you mean 'label'?"),
        ("init shop.csv --target age", "200 different values in 200 labelled rows, as quantities have"),
        ("inspect shop.csv --target age", "200 different values in 200 labelled rows, as quantities have"),
        ("init pictures", "07.png: is not an image that can be decoded"),
        ("inspect notes.md", "notes.md"),
        ("inspect twice.csv --target label", "twice.csv: several columns are called 'pay'"),
        ("inspect twice.parquet", "twice.parquet: several columns are called 'pay'"),
        ("inspect ragged.csv", "ragged.csv: data row 2 has 3 cells, but there are 2 columns"),
    ],
)
def test_what_cannot_be_started_from_is_one_line(words: str, says: str, tmp_path: Path, cli: Cli) -> None:
    shop().assign(age=np.arange(200) / 7).to_csv(tmp_path / "shop.csv", index=False)
    (tmp_path / "notes.md").write_text("notes\n")
    (tmp_path / "there.yaml").write_text("mine\n")
    (tmp_path / "twice.csv").write_text("pay,pay,label\n" + "1,2,x\n3,4,y\n" * 20)
    pq.write_table(pa.table([[1, 2], [3, 4]], names=["pay", "pay"]), tmp_path / "twice.parquet")
    images(tmp_path / "pictures", [(8, 8)])
    cut = tmp_path / "pictures" / "b" / "07.png"
    cut.write_bytes(cut.read_bytes()[:-60])
    (tmp_path / "ragged.csv").write_text("pay,city\na,b\nc,d,e\n")
    there = sorted(tmp_path.rglob("*"))

    done = cli(words.split(), tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert says in done.stderr
    assert sorted(tmp_path.rglob("*")) == there
    assert (tmp_path / "there.yaml").read_text() == "mine\n"


@pytest.mark.parametrize(
    ("data", "target"),
    [
        ("adult/adult.data.gz", "c15"),
        ("isolet/isolet5.data.gz", "c618"),
        ("cifar10_sample", None),
    ],
)
def test_configs_for_real_data_are_planned(
    data: str, target: str | None, data_root: Path, tmp_path: Path, cli: Cli
) -> None:
    words = [data_root / data, *(["--target", target] if target else [])]

    assert cli(["init", *words, "-o", "my.yaml"], tmp_path).returncode == 0

    done = cli(["plan", "my.yaml"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "finetune" in done.stdout
