"""Tables against scikit-learn's own transformation, and against what columns and cells mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from stackae.config import DataConfig
from stackae.data.preprocessing.table import TablePreprocessing, fit_table
from stackae.data.tables.cells import Reading
from stackae.data.tables.columns import Column
from stackae.data.tables.frames import as_batch
from stackae.data.tables.normalised import normalise
from stackae.errors import DataError

ROWS = 400


def made(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """A table with what tables have: gaps, rare categories, a constant, numbers of all sizes."""
    rng = np.random.default_rng(seed)
    pick = rng.choice(["clerk", "smith", "cook", "king", "pope"], rows, p=[0.5, 0.3, 0.18, 0.012, 0.008])
    job = pick.astype(object)
    job[rng.random(rows) < 0.1] = None
    age = rng.normal(40, 10, rows)
    age[rng.random(rows) < 0.05] = np.nan
    return pd.DataFrame(
        {
            "job": pd.Series(job, dtype=object),
            "age": age,
            "pay": rng.lognormal(10, 2, rows),
            "sex": pd.Series(rng.choice(["f", "m"], rows).astype(object), dtype=object),
            "same": np.full(rows, 3.0),
            "score": rng.random(rows),
        }
    )


def columns_of(frame: pd.DataFrame, **dropped: str) -> list[Column]:
    return [
        Column(
            str(name),
            "categorical" if frame[name].dtype == object else "numeric",
            missing=int(frame[name].isna().sum()),
            distinct=frame[name].nunique(),
            low=None,
            high=None,
            dropped=dropped.get(str(name)),
        )
        for name in frame
    ]


FRAME = made()


def fit(frame: pd.DataFrame, columns: list[Column], **words: Any) -> TablePreprocessing:
    used = [column for column in columns if column.dropped is None]
    rows = normalise(as_batch(frame, [column.name for column in used]), used, Reading())
    return fit_table(rows, columns, DataConfig.model_validate(words))


def fitted(frame: pd.DataFrame = FRAME, **words: Any) -> TablePreprocessing:
    return fit(frame, columns_of(frame), **words)


def features(preprocessing: TablePreprocessing, frame: pd.DataFrame) -> np.ndarray:
    return preprocessing(preprocessing.read(frame))


def feature(preprocessing: TablePreprocessing, name: str, frame: pd.DataFrame) -> np.ndarray:
    return features(preprocessing, frame)[:, preprocessing.names().index(name)]


SETTINGS: list[dict[str, Any]] = [
    {},
    {"scaling": "minmax"},
    {"scaling": "quantile", "rare": 1},
    {"scaling": "none", "types": {"pay": "quantile", "age": "minmax", "score": "standard"}, "rare": 60},
]


@pytest.mark.parametrize("words", SETTINGS, ids=str)
def test_the_numbers_are_those_of_scikit_learn_to_the_last_bit(words: dict[str, Any]) -> None:
    preprocessing = fitted(**words)
    other = made(seed=1)
    other.loc[:5, "job"] = "never seen"
    other.loc[:9, "pay"] = np.nan
    for frame in (FRAME, other):
        with np.errstate(all="ignore"):
            expected = preprocessing.transformer.transform(frame).astype(np.float32)
        found = features(preprocessing, frame)
        assert found.dtype == np.float32
        assert found.shape[1:] == preprocessing.shape
        np.testing.assert_array_equal(found, expected)


def test_blocks_and_names_say_what_each_feature_is() -> None:
    preprocessing = fitted(types={"age": "minmax"})
    assert preprocessing.names() == [
        *("pay", "score", "age", "age missing"),
        *("job=clerk", "job=cook", "job=smith", "job missing", "job rare", "sex=f", "sex=m"),
    ]
    blocks = [(block.kind, block.size, block.column) for block in preprocessing.blocks]
    assert blocks == [
        *[("numeric", 1, column) for column in (2, 5, 1)],
        *[("binary", 1, 1), ("categorical", 5, 0), ("categorical", 2, 3)],
    ]
    assert preprocessing.shape == (11,)


def test_scaled_columns_have_the_distribution_that_was_asked_for() -> None:
    preprocessing = fitted(types={"pay": "quantile", "score": "minmax"})
    complete = FRAME[FRAME["age"].notna()]
    age = feature(preprocessing, "age", FRAME)
    assert abs(age.mean()) < 1e-5
    assert age.std() == pytest.approx(1, abs=1e-5)
    assert np.corrcoef(feature(preprocessing, "age", complete), complete["age"])[0, 1] > 0.9999
    score = feature(preprocessing, "score", FRAME)
    assert (score.min(), score.max()) == (0, 1)
    assert kstest(feature(preprocessing, "pay", FRAME), "norm").pvalue > 0.5
    assert "same" not in preprocessing.names()


def test_what_is_beyond_the_training_rows_stays_in_the_range_of_minmax() -> None:
    preprocessing = fitted(FRAME[["age", "pay", "score"]], scaling="minmax")
    assert (preprocessing.low, preprocessing.high) == (0, 1)
    beyond = FRAME.assign(pay=-1e9, score=1e9)
    x = features(preprocessing, beyond)
    assert (x.min(), x.max()) == (0, 1)


def test_low_and_high_are_the_range_of_the_training_rows() -> None:
    preprocessing = fitted()
    x = features(preprocessing, FRAME)
    assert (preprocessing.low, preprocessing.high) == (x.min(), x.max())


def test_a_missing_number_is_the_median_with_a_mark_where_training_had_gaps_too() -> None:
    preprocessing = fitted()
    gaps = FRAME.assign(age=np.nan, pay=np.nan)
    median = FRAME.assign(age=FRAME["age"].median(), pay=FRAME["pay"].median())
    marks = features(preprocessing, gaps) - features(preprocessing, median)
    at = preprocessing.names().index("age missing")
    assert (marks[:, at] == 1).all()
    assert not np.delete(marks, at, axis=1).any()


def test_rare_and_unseen_categories_are_one_and_a_missing_one_is_its_own() -> None:
    preprocessing = fitted()
    rows = FRAME.iloc[[0] * 5].assign(
        job=pd.Series(["pope", "new", None, np.nan, "cook"], dtype=object).to_numpy()
    )
    for name, expected in (
        ("job rare", [1, 1, 0, 0, 0]),
        ("job missing", [0, 0, 1, 1, 0]),
        ("job=cook", [0, 0, 0, 0, 1]),
    ):
        assert feature(preprocessing, name, rows).tolist() == expected


@pytest.mark.parametrize(("trained", "given"), [("{}", "{}.0"), ("{}.0", "{}")])
def test_whole_numbers_as_categories_are_alike_with_and_without_a_point(trained: str, given: str) -> None:
    codes = [trained.format(row % 3) for row in range(60)]
    one = pd.DataFrame({"code": codes}, dtype=object)
    fitted = fit(one, columns_of(one))

    rows = pd.DataFrame({"code": [given.format(2), given.format(0), "3", "1.5"]})

    np.testing.assert_array_equal(features(fitted, rows), [[0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0]])
    assert fitted.unseen(fitted.read(rows)).tolist() == [False, False, True, True]


def test_without_rare_categories_an_unseen_one_is_none_of_them() -> None:
    preprocessing = fitted(FRAME[["sex", "score"]])
    rows = FRAME.iloc[:2].assign(sex=pd.Series(["x", None], dtype=object))
    assert preprocessing.names() == ["score", "sex=f", "sex=m"]
    assert not features(preprocessing, rows)[:, 1:].any()


def test_a_missing_category_that_is_rare_is_pooled_with_the_rare_ones() -> None:
    frame = pd.DataFrame({"c": pd.Series(["a"] * 50 + ["b"] * 3 + [None] * 2, dtype=object)})
    preprocessing = fitted(frame)
    assert preprocessing.names() == ["c=a", "c rare"]
    assert features(preprocessing, frame)[:, 1].tolist() == [0] * 50 + [1] * 5


def test_training_rows_alone_decide() -> None:
    one, other = fitted(), fitted()
    features(other, made(seed=5).assign(pay=1e6))
    np.testing.assert_array_equal(features(one, FRAME), features(other, FRAME))


def test_columns_are_found_by_name_whatever_else_there_is_and_in_whatever_order() -> None:
    preprocessing = fitted()
    shuffled = FRAME[FRAME.columns[::-1]].assign(more="x")
    np.testing.assert_array_equal(features(preprocessing, shuffled), features(preprocessing, FRAME))


def test_dropped_columns_are_no_features_and_need_not_be_there() -> None:
    dropped = fit(FRAME, columns_of(FRAME, same="constant", job="asked"))
    assert dropped.names() == ["age", "pay", "score", "age missing", "sex=f", "sex=m"]
    assert [block.column for block in dropped.blocks] == [1, 2, 5, 1, 3]
    assert features(dropped, FRAME.drop(columns=["same", "job"])).shape == (ROWS, 6)


def test_other_types_of_pandas_mean_the_same_as_what_is_read_from_files() -> None:
    frame = pd.DataFrame(
        {
            "zip": pd.Series([str(n % 4) for n in range(80)], dtype=object),
            "n": np.arange(80.0),
            "yes": np.arange(80.0) % 2,
            "at": 1e9 + 3600 * np.arange(80.0),
        }
    )
    frame.loc[::9, "zip"] = None
    preprocessing = fitted(frame)
    numbers = frame["zip"].astype("float64")
    for other in (
        frame.astype({"zip": "str"}),
        frame.astype({"zip": "category"}),
        frame.assign(zip=numbers),
        frame.assign(zip=numbers.astype("Int64")),
        frame.astype({"n": "int32", "yes": "bool"}),
        frame.assign(n=frame["n"].astype("Int64")),
        frame.astype({"n": "str"}),
        frame.assign(at=pd.to_datetime(frame["at"], unit="s")),
        frame.assign(at=pd.to_datetime(frame["at"], unit="s", utc=True)),
    ):
        np.testing.assert_array_equal(features(preprocessing, other), features(preprocessing, frame))


def test_however_a_missing_category_is_written_it_is_one() -> None:
    gaps = FRAME["job"].isna()
    mixed = FRAME["job"].where(~gaps | (np.arange(ROWS) % 2 == 0), np.nan)
    for job in (FRAME["job"].where(~gaps, np.nan), mixed, FRAME["job"].astype("str")):
        frame = FRAME.assign(job=job)
        preprocessing = fit(frame, columns_of(FRAME))
        assert preprocessing.names() == fitted().names()
        np.testing.assert_array_equal(features(preprocessing, frame), features(fitted(), FRAME))


def test_a_column_without_any_number_in_the_training_rows_is_kept() -> None:
    frame = FRAME.assign(age=np.nan)
    preprocessing = fitted(frame)
    assert np.isfinite(features(preprocessing, frame)).all()
    assert np.isfinite(features(preprocessing, FRAME)).all()
    assert preprocessing.outside(preprocessing.read(FRAME))[FRAME["age"].notna()].all()


def test_no_rows_are_no_features_and_no_fault() -> None:
    preprocessing = fitted()
    nothing = FRAME.iloc[:0]
    assert features(preprocessing, nothing).shape == (0, *preprocessing.shape)
    assert (
        len(preprocessing.unseen(preprocessing.read(nothing)))
        == len(preprocessing.outside(preprocessing.read(nothing)))
        == 0
    )


def test_unseen_categories_and_numbers_far_outside_are_told() -> None:
    preprocessing = fitted()
    assert not preprocessing.unseen(preprocessing.read(FRAME)).any()
    assert not preprocessing.outside(preprocessing.read(FRAME)).any()
    low, high = FRAME["score"].min(), FRAME["score"].max()
    width = high - low
    rows = FRAME.iloc[[0] * 6].assign(
        job=pd.Series(["cook", "pope", None, "new", "", "cook"], dtype=object).to_numpy(),
        score=[high + 0.49 * width, high + 0.51 * width, low - 0.49 * width, low - 0.51 * width, np.nan, low],
    )
    assert preprocessing.unseen(preprocessing.read(rows)).tolist() == [
        False,
        False,
        False,
        True,
        False,
        False,
    ]
    assert preprocessing.outside(preprocessing.read(rows)).tolist() == [
        False,
        True,
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (FRAME.drop(columns="job"), "no column 'job'"),
        (FRAME.drop(columns="pay"), "no column 'pay'"),
        (
            FRAME.assign(pay=FRAME["pay"].astype(object).replace(FRAME["pay"][7], "7 pots")),
            "column 'pay', row 8 of those given: '7 pots' is not a finite number",
        ),
        (
            FRAME.assign(score=[*FRAME["score"][:-1], np.inf]),
            f"column 'score', row {ROWS} of those given: 'inf'",
        ),
        (FRAME.assign(score=[1e300, *FRAME["score"][1:]]), "column 'score', row 1 of those given: 1e+300"),
        (
            FRAME.assign(job=pd.Series([*FRAME["job"][:-1], ["cook"]], dtype=object)),
            f"column 'job', row {ROWS} of those given: a list is not a category",
        ),
    ],
)
def test_what_cannot_be_computed_with_is_one_line_that_says_where(rows: pd.DataFrame, said: str) -> None:
    preprocessing = fitted()
    with pytest.raises(DataError) as caught:
        features(preprocessing, rows)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_table_without_a_column_to_use_is_refused() -> None:
    columns = columns_of(FRAME[["same"]], same="constant")
    with pytest.raises(DataError, match="no column is left"):
        fit(FRAME, columns)
