"""What labels are worth, read off two curves."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackae.report.label_curve import (
    LabelCurve,
    Point,
    baseline_headings,
    baseline_table,
    chart,
    headings,
    table,
    worth,
    write_csv,
)


def curve(
    pretrained: list[float], scratch: list[float], labels: tuple[int, ...] = (100, 1000, 10000)
) -> LabelCurve:
    """Two repetitions around each mean."""
    return LabelCurve(
        [
            Point(count, repeat, one + shift, other - shift, 0.5)
            for count, one, other in zip(labels, pretrained, scratch, strict=True)
            for repeat, shift in enumerate((-0.001, 0.001))
        ]
    )


def test_a_power_law_is_read_off_exactly() -> None:
    """Scratch errs as 1 / sqrt(labels): half the error takes four times the labels."""
    scratch = [0.4, 0.4 / 10**0.5, 0.04]
    sentence = worth(curve([0.2, 0.4 / 2000**0.5 * 10, 0.039], scratch))
    first, second, third = sentence.rstrip(".").split("; ")
    assert first == "With 100 labels pretraining is worth about 300 more (20.00 % where scratch has 40.00 %)"
    assert "with 1,000 labels pretraining is worth about 1,000 more" in second
    assert third == "with 10,000 labels it gives 3.90 % where scratch has 4.00 %"


def test_an_error_that_scratch_never_reaches_is_said_so() -> None:
    sentence = worth(curve([0.01, 0.009, 0.008], [0.4, 0.2, 0.1]))
    assert "1.00 % where scratch has 40.00 %, more than 10,000 labels give scratch" in sentence
    assert "worth about" not in sentence


def test_no_gain_is_called_no_gain() -> None:
    sentence = worth(curve([0.5, 0.2, 0.1], [0.4, 0.2, 0.1]))
    assert sentence.startswith("With 100 labels pretraining gained nothing (50.00 %, scratch 40.00 %)")
    assert "worth about" not in sentence


@pytest.mark.parametrize("zero", [0.0, 1e-9])
def test_an_error_of_nothing_breaks_no_logarithm(zero: float) -> None:
    points = [Point(10, 0, zero, 0.2, 0.5), Point(100, 0, 0.0, 0.0, 0.5)]
    assert "labels" in worth(LabelCurve(points))


def test_a_line_is_drawn_of_the_baselines_that_there_are(tmp_path: Path) -> None:
    points = [
        Point(10, 0, 0.3, 0.4, 0.5),
        Point(100, 0, 0.1, 0.2, 0.3, 0.15),
        Point(100, 1, 0.1, 0.2, 0.3, 0.25),
    ]
    curve = LabelCurve(points)
    assert headings(curve)[-1] == "best baseline"
    assert [row[-1] for row in table(curve)] == ["–", "20.00 % (15.00 to 25.00)"]
    write_csv(curve, tmp_path / "curve.csv")
    lines = (tmp_path / "curve.csv").read_text().splitlines()
    assert [line.rpartition(",")[2] for line in lines] == ["baseline_error", "", "0.15", "0.25"]
    drawn = chart(curve, "one")
    assert "best baseline 20.00 %" in drawn.alt
    assert "best baseline" in drawn.svg

    bare = LabelCurve([Point(10, 0, 0.3, 0.4, 0.5)])
    assert "best baseline" not in headings(bare)
    assert "best baseline" not in chart(bare, "one").svg


def test_each_baseline_has_a_line_and_a_row_of_its_own(tmp_path: Path) -> None:
    points = [
        Point(10, 0, 0.3, 0.4, 0.5, 0.45, {"svm": 0.45}),
        Point(100, 0, 0.1, 0.2, 0.3, 0.15, {"svm": 0.15, "svm_codes": 0.16}),
        Point(100, 1, 0.1, 0.2, 0.3, 0.2, {"svm": 0.25, "svm_codes": 0.2}),
    ]
    curve = LabelCurve(points)
    assert curve.lines == ["pretrained", "scratch", "logistic", "baseline"]
    assert baseline_headings(curve) == ["baseline", "10 labels", "100 labels"]
    assert baseline_table(curve) == [
        ["svm", "45.00 % (45.00 to 45.00)", "20.00 % (15.00 to 25.00)"],
        ["svm on columns and codes", "–", "18.00 % (16.00 to 20.00)"],
    ]
    write_csv(curve, tmp_path / "curve.csv")
    lines = (tmp_path / "curve.csv").read_text().splitlines()
    assert [line.split(",")[-3:] for line in lines] == [
        ["baseline_error", "svm_error", "svm_codes_error"],
        ["0.45", "0.45", ""],
        ["0.15", "0.15", "0.16"],
        ["0.2", "0.25", "0.2"],
    ]
    drawn = chart(curve, "one")
    assert "svm on columns and codes" in drawn.svg
    assert "beside them svm, svm on columns and codes." in drawn.alt
