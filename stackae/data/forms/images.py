"""A folder of images, with a folder for each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stackae.config import DataConfig
from stackae.data.files.image_file import ImageKind, Mode
from stackae.data.files.images import ImageRows, Images, read_images
from stackae.data.files.paths import as_paths, quoted
from stackae.data.forms import image_guess, image_labels
from stackae.data.forms.arrays import check_scale, learnt_by
from stackae.data.forms.form import Description, Form, Guess, NewRows
from stackae.data.labels import LabelWording, as_strings, number_labels
from stackae.data.preprocessing.scaling import Scaling
from stackae.data.source import Part, Parts, Source, assemble, fit_as_asked, scaling_text
from stackae.errors import DataError

if TYPE_CHECKING:
    from stackae.data.preprocessing.load import Preprocessing


def belongs(path: Path) -> bool:
    """Tell whether a path is a folder; one of tables belongs to those first."""
    return path.is_dir()


def read(config: DataConfig) -> Source:
    """Read the folders of images that a config names."""
    (folder,) = as_paths(config.source)
    main = read_images(folder, config.image_size, config.image_mode)
    test, extra = (
        read_images(path, config.image_size, config.image_mode, like=main.rows) if path else None
        for path in (next(iter(as_paths(names)), None) for names in (config.test, config.unlabelled))
    )
    labels, test_labels = main.labels, None if test is None else test.labels
    if config.target is not None:
        found = image_labels.read_labels(config, main.rows.files, test.rows.files if test else ())
        labels, test_labels = found[: len(main.rows)], None if test is None else found[len(main.rows) :]
    y, y_test, classes = None, None, tuple[str, ...]()
    if config.target is not None or any(label is not None for label in labels):
        wording = LabelWording(
            str(folder if config.target is None else config.target),
            "data.source",
            "data.test",
            lambda row: f"'{test.rows.files[row]}'" if test else "",
            "move the images out of their folders" if config.target is None else "remove data.target",
            f"data.test: {quoted(config.test or '')}",
        )
        y, y_test, classes = number_labels(labels, test_labels, config.classes, wording)

    def part(images: Images) -> Part:
        return Part(images.rows, lambda role, digest: digest.update(f"{role} {images.digest}\n".encode()))

    parts = Parts(part(main), None if test is None else part(test), None if extra is None else part(extra))
    shape = main.rows.shape
    return assemble(
        folder.resolve().name,
        parts,
        y,
        y_test,
        classes,
        settings="images\n" + scaling_text(config),
        # What the values can be: what they are is not known before all images are decoded.
        fit=fit_as_asked(config, parts, shape, lambda: Scaling(shape, 255.0, 0.0, 1.0)),
        remarks=_remarks([images.rows for images in (main, test, extra) if images is not None]),
    )


def read_new(paths: str | Sequence[str], config: DataConfig, preprocessing: Preprocessing) -> NewRows:
    """Read images, resized and converted as those that the run learnt from."""
    files, shape = as_paths(paths), preprocessing.shape
    if len(shape) == 3 and shape[0] != 3:
        raise DataError(f"{quoted(paths)}: images, but this run was trained on rows of shape {shape}")
    like = ImageRows((), (), (shape[-2], shape[-1]), "grey" if len(shape) == 2 else "rgb")
    images = read_images(files[0], config.image_size, config.image_mode, like=like)
    labels = as_strings(images.labels, config.classes)
    check_scale(paths, images.rows, preprocessing)
    names = tuple(file.relative_to(files[0]).as_posix() for file in images.rows.files)
    labelled = any(label is not None for label in labels)
    files_of_rows = np.array(names)
    return NewRows(
        images.rows,
        labels if labelled else None,
        lambda row: f"'{names[row]}'",
        lambda rows: {"file": files_of_rows[rows]},
        remarks=_remarks([images.rows]),
    )


def guess(data: str | Sequence[str], settings: dict[str, Any]) -> Guess:
    """Guess the folders of the parts, and a size that all images can have."""
    (folder,) = as_paths(data)
    return image_guess.guess(folder, settings)


def describe(source: Source, preprocessing: Preprocessing) -> Description:
    """Describe the size and mode of the images, and how many files have which mode."""
    shape = preprocessing.shape
    mode: Mode = "grey" if len(shape) == 2 else "rgb"
    text = f"images, {source.sizes}, {shape[-2]} by {shape[-1]} pixels (height by width), {mode}"
    kinds = _count([rows for rows in (source.rows, source.test) if isinstance(rows, ImageRows)])
    rows = [(str(kind), f"{count:,}", kind.use(mode)) for kind, count in kinds.most_common()]
    return Description(text, ("mode", "images", "use"), rows)


def _remarks(parts: Sequence[ImageRows]) -> tuple[str, ...]:
    """Say of how many images values are converted that have more to them than pixels of 8 bits."""
    kinds = _count(parts)
    deep = sum(count for kind, count in kinds.items() if kind.bits == 16)
    found = [f"{deep:,} of 16 bits scaled to 8 (as .npy they keep all)"] if deep else []
    for colours in sorted({kind.colours for kind in kinds if kind.colours not in ("grey", "rgb", "palette")}):
        count = sum(count for kind, count in kinds.items() if kind.colours == colours)
        found.append(f"{count:,} of {colours} converted to {parts[0].mode}")
    return (f"images: {', '.join(found)}",) if found else ()


def _count(parts: Sequence[ImageRows]) -> Counter[ImageKind]:
    return Counter(kind for rows in parts for kind in rows.kinds)


FORM = Form(
    called="images",
    endings=(),
    settings=("test", "unlabelled", "target", "image_size", "image_mode"),
    belongs=belongs,
    read=read,
    learnt_by=learnt_by,
    read_new=read_new,
    guess=guess,
    describe=describe,
)
