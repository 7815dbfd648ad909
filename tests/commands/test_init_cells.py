"""Cells that are not as the others of their column: what `inspect`, `init` and a run say of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
from conftest import Cli
from test_init import QUICK, init, shop


def test_stray_cells_among_numbers_are_named_and_taken_for_missing(tmp_path: Path, cli: Cli) -> None:
    table = shop().assign(lead=np.arange(200) % 37 / 8).astype({"lead": object})
    table.loc[3, "lead"], table.loc[[5, 8], "lead"], table.loc[9, "lead"] = "Total", "<0.5", "#DIV/0!"
    table.to_csv(tmp_path / "shop.csv", index=False)

    config = init(cli, tmp_path, "shop.csv --target label")

    assert {"Total", "<0.5", "#DIV/0!"} <= set(config.data.missing)
    said = "'lead' has numbers, but also 'Total', '<0.5' 2 times, '#DIV/0!'"
    assert said in (tmp_path / "my.yaml").read_text()
    inspected = cli(["inspect", "shop.csv", "--target", "label"], tmp_path).stdout
    assert said in inspected
    assert re.search(r"^lead +numeric +4 ", inspected, re.MULTILINE)
    done = cli(["run", "my.yaml", *QUICK.split()], tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("warning")] == [
        "warning: 4 cells are taken for missing, as data.missing says: 'Total' in 'lead' (1), "
        "'<0.5' in 'lead' (2), '#DIV/0!' in 'lead' (1)"
    ]


def test_a_stray_cell_that_is_a_category_elsewhere_stands_for_no_missing_value(
    tmp_path: Path, cli: Cli
) -> None:
    table = (
        shop().assign(grade=np.arange(200) % 37, blood=["A", "B", "0+", "AB"] * 50).astype({"grade": object})
    )
    table.loc[3, "grade"] = "A"
    table.to_csv(tmp_path / "shop.csv", index=False)

    config = init(cli, tmp_path, "shop.csv --target label")

    assert "A" not in config.data.missing
    assert config.data.types == {"grade": "categorical"}


def test_a_class_that_is_called_none_is_named_with_its_remedy(tmp_path: Path, cli: Cli) -> None:
    table = shop()
    table.loc[::5, "label"] = "None"
    table.to_csv(tmp_path / "shop.csv", index=False)
    said = (
        "data.target 'label': 40 rows have no label, since 'None' stands for a missing value; if it is a "
        "class, take it out of data.missing"
    )

    init(cli, tmp_path, "shop.csv --target label")

    assert f"  # {said}\n" in (tmp_path / "my.yaml").read_text()
    done = cli(["run", "my.yaml", *QUICK.split()], tmp_path)
    assert f"warning: {said}\n" in done.stderr
    assert json.loads((tmp_path / "runs" / "my" / "results.json").read_text())["remarks"] == [said]
    assert "take it out of data.missing" in (tmp_path / "runs" / "my" / "report.html").read_text()


def test_commas_that_may_be_either_are_said_to_stand_between_thousands(tmp_path: Path, cli: Cli) -> None:
    table = shop().assign(pay=[f"{1000 + 7 * row:,}" for row in range(200)])
    table.to_csv(tmp_path / "shop.csv", index=False)

    config = init(cli, tmp_path, "shop.csv --target label")

    assert (config.data.decimal, config.data.thousands) == (".", ",")
    said = "'1,000' is read as 1000; if its comma is the decimal one, set decimal: ','"
    assert said in (tmp_path / "my.yaml").read_text()
    inspected = cli(["inspect", "shop.csv", "--target", "label"], tmp_path).stdout
    assert re.search(r"^pay +numeric +200 +1000 to 2393 ", inspected, re.MULTILINE)


def test_what_little_is_left_of_a_column_is_said(tmp_path: Path, cli: Cli) -> None:
    cities = [f"city {row % 90}" for row in range(200)]
    once = ["7" if row % 2 else "" for row in range(200)]
    shop().assign(city=cities, once=once).to_csv(tmp_path / "shop.csv", index=False)

    shown = cli(["inspect", "shop.csv", "--target", "label"], tmp_path).stdout

    assert "column 'once' has one value in all training rows; only whether it is missing becomes" in shown
    assert (
        "column 'city' becomes one feature that is the same in all training rows: its 90 categories" in shown
    )
    assert shown.count("'once'") == shown.count("'city'") == 1
    assert re.search(r"^once .*one value: whether it is missing alone", shown, re.MULTILINE)


def test_times_are_shown_as_what_they_become(tmp_path: Path, cli: Cli) -> None:
    times = pd.date_range("2024-01-01", periods=200, freq="3h").astype(str)
    shop().assign(when=times).to_csv(tmp_path / "shop.csv", index=False)

    shown = cli(["inspect", "shop.csv", "--target", "label"], tmp_path).stdout

    line = next(line for line in shown.splitlines() if line.startswith("when"))
    assert "2024-01-01 to 2024-01-25 21:00:00" in line
    assert line.rstrip().endswith("time elapsed, scaled, sine and cosine of hour and weekday")
