"""A folder of images, with a folder for each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stackae.config import DataConfig
from stackae.data.files.images import ImageRows, Images, read_images
from stackae.data.files.paths import as_paths, quoted
from stackae.data.forms import image_guess
from stackae.data.forms.arrays import check_scale, learnt_by
from stackae.data.forms.form import Description, Form, Guess, NewRows
from stackae.data.labels import LabelWording, as_strings, number_labels
from stackae.data.preprocessing.scaling import Scaling
from stackae.data.source import Part, Parts, Source, assemble, fit_as_asked, scaling_text
from stackae.errors import DataError

if TYPE_CHECKING:
    from stackae.data.preprocessing.load import Preprocessing


def belongs(path: Path) -> bool:
    """Tell whether a path is a folder."""
    return path.is_dir()


def read(config: DataConfig) -> Source:
    """Read the folders of images that a config names."""
    (folder,) = as_paths(config.source)
    main = read_images(folder, config.image_size, config.image_mode)
    test, extra = (
        read_images(path, config.image_size, config.image_mode, like=main.rows) if path else None
        for path in (next(iter(as_paths(names)), None) for names in (config.test, config.unlabelled))
    )
    y, y_test, classes = None, None, tuple[str, ...]()
    if any(label is not None for label in main.labels):
        wording = LabelWording(
            str(folder),
            "data.source",
            "data.test",
            lambda row: f"'{test.rows.files[row]}'" if test else "",
            "move the images out of their folders",
        )
        y, y_test, classes = number_labels(
            main.labels, None if test is None else test.labels, config.classes, wording
        )

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
    )


def read_new(paths: str | Sequence[str], config: DataConfig, preprocessing: Preprocessing) -> NewRows:
    """Read images, resized and converted as those that the run learnt from."""
    files, shape = as_paths(paths), preprocessing.shape
    if len(shape) == 3 and shape[0] != 3:
        raise DataError(f"{quoted(paths)}: images, but this run was trained on rows of shape {shape}")
    like = ImageRows((), (shape[-2], shape[-1]), "grey" if len(shape) == 2 else "rgb")
    images = read_images(files[0], config.image_size, config.image_mode, like=like)
    labels = as_strings(images.labels, config.classes)
    check_scale(paths, images.rows, preprocessing)
    names = tuple(file.relative_to(files[0]).as_posix() for file in images.rows.files)
    labelled = any(label is not None for label in labels)
    return NewRows(images.rows, labels if labelled else None, lambda row: f"'{names[row]}'", names)


def guess(data: str, settings: dict[str, Any]) -> Guess:
    """Guess the folders of the parts, and a size that all images can have."""
    (folder,) = as_paths(data)
    return image_guess.guess(folder, settings)


def describe(source: Source, preprocessing: Preprocessing) -> Description:
    """Describe the size and mode of the images."""
    shape = preprocessing.shape
    mode = "grey" if len(shape) == 2 else "rgb"
    return Description(f"images, {source.sizes}, {shape[-2]} by {shape[-1]} pixels (height by width), {mode}")


FORM = Form(
    called="images",
    endings=(),
    settings=("test", "unlabelled", "image_size", "image_mode"),
    belongs=belongs,
    read=read,
    learnt_by=learnt_by,
    read_new=read_new,
    guess=guess,
    describe=describe,
)
