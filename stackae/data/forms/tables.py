"""Tables: columns of numbers and categories, with missing cells, in files of text or of typed columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stackae.config import DataConfig
from stackae.config.section import changed
from stackae.data.files.endings import TABLES, is_table_name
from stackae.data.files.paths import as_paths, quoted
from stackae.data.files.remote import address
from stackae.data.files.table_folder import holds_tables, table_files
from stackae.data.forms.form import Description, Form, Guess, NewRows, numbered
from stackae.data.forms.table_columns import COLUMNS, describe_columns
from stackae.data.labels import LabelWording, as_strings, number_labels
from stackae.data.source import Ints, Part, Parts, Source, assemble, sample
from stackae.errors import DataError

if TYPE_CHECKING:
    from stackae.data.preprocessing.load import Preprocessing
    from stackae.data.tables.table import Table


def belongs(path: Path) -> bool:
    """Tell whether a path is a table, compressed or not, or a folder of tables without images."""
    return holds_tables(path) if path.is_dir() else is_table_name(path)


def read(config: DataConfig) -> Source:
    """Read the tables that a config names; their preprocessing is fitted once the rows are divided."""
    from stackae.data.tables.table import read_table

    main = read_table(table_files(as_paths(config.source)), config)
    test = extra = None
    if config.test is not None:
        test = read_table(table_files(as_paths(config.test)), config, like=main.columns)
    if config.unlabelled is not None:
        files = table_files(as_paths(config.unlabelled))
        extra = read_table(files, config, like=main.columns, need_target=False)
    y, y_test, classes = None, None, tuple[str, ...]()
    if main.target is not None:
        wording = LabelWording(
            f"data.target '{config.target}'",
            "data.source",
            "data.test",
            lambda row: f"data row {row + 1:,}",
            "remove data.target",
            f"data.test: {quoted(config.test or '')}",
        )
        y, y_test, classes = number_labels(
            main.target, None if test is None else test.target, config.classes, wording
        )

    def part(table: Table) -> Part:
        return Part(
            table.rows,
            lambda role, digest: digest.update(f"{role} {table.digest}\n".encode()),
            table.group,
            table.order,
        )

    parts = Parts(part(main), None if test is None else part(test), None if extra is None else part(extra))
    used = sum(column.dropped is None for column in main.columns)
    if not used:
        why = "; ".join(f"'{column.name}' is dropped: {column.dropped}" for column in main.columns[:8])
        raise DataError(
            f"{as_paths(config.source)[0]}: no column is left to learn from ({why or 'there is no other'}); "
            "drop fewer in data.drop, or set one in data.types"
        )

    def fit(train: Ints) -> Preprocessing:
        from stackae.data.preprocessing.table import fit_table

        rows: Any = parts.all.take(sample(train, (max(used, 1),)))
        return fit_table(rows, main.columns, config)

    explicit = config.model_copy(update={"scaling": None}) if config.scaling == "standard" else config
    scaled = changed(explicit, include={"scaling", "rare", "types"})
    return assemble(
        as_paths(config.source)[0].resolve().name,
        parts,
        y,
        y_test,
        classes,
        settings=f"table {json.dumps(scaled, sort_keys=True)}\n",
        fit=fit,
        columns=tuple(main.columns),
        remarks=tuple(
            remark if table is main else f"{setting}: {remark}"
            for setting, table in (("", main), ("data.test", test), ("data.unlabelled", extra))
            if table is not None
            for remark in table.remarks
        ),
    )


def learnt_by(preprocessing: Preprocessing) -> bool:
    """Tell whether tables fit a run with such a preprocessing."""
    return preprocessing.blocks is not None


def read_new(paths: str | Sequence[str], config: DataConfig, preprocessing: Preprocessing) -> NewRows:
    """Read rows with all columns that the run learnt from; the target may be missing."""
    from stackae.data.preprocessing.table import TablePreprocessing
    from stackae.data.tables.table import read_table

    assert isinstance(preprocessing, TablePreprocessing)
    files = table_files(as_paths(paths))
    table = read_table(files, config, like=preprocessing.columns, need_target=False)
    labels = None if table.target is None else as_strings(table.target, config.classes)
    place = numbered([address(path) for path in table.rows.paths], table.sizes, first=1)
    return NewRows(table.rows, labels, lambda row: f"data row {row + 1:,}", place)


def guess(data: str | Sequence[str], settings: dict[str, Any]) -> Guess:
    """Guess how a table is written and what its columns hold."""
    from stackae.data.forms import table_guess

    return table_guess.guess(table_files(as_paths(data)), settings)


def describe(source: Source, preprocessing: Preprocessing) -> Description:
    """Describe the numbers of rows, columns and features, and what becomes of each column."""
    assert source.columns is not None
    features = len(preprocessing.names())
    return Description(
        f"a table, {source.sizes}, {len(source.columns)} columns, {features} features",
        COLUMNS,
        describe_columns(source, preprocessing),
    )


FORM = Form(
    called="a table",
    endings=TABLES,
    settings=("test", "unlabelled", "target", "group", "order", "drop", "types"),
    belongs=belongs,
    read=read,
    learnt_by=learnt_by,
    read_new=read_new,
    guess=guess,
    describe=describe,
)
