"""The model card: what a finished model learnt from, how well it does, and how to use it, in Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stackae.config import Config
from stackae.data.label_use import in_words

_SCALED = {
    "standard": "to mean 0 and variance 1",
    "minmax": "to [0, 1]",
    "quantile": "to a normal distribution by ranks",
}
_SHOWN = 20


def card(config: Config, results: Mapping[str, Any], model: Mapping[str, Any], place: str) -> str:
    """Write the card of a run from config, results and the model's `config.json`; `place` is what to load."""
    return "\n".join([f"# {config.name}", "", *_text(config, results, model, place)]) + "\n"


def front_matter(config: Config, results: Mapping[str, Any]) -> str:
    """Return what the Hugging Face Hub reads at the top of a card, as YAML; the licence is left open."""
    lines = ["---", "library_name: stackae", "tags: [autoencoder, stacked-autoencoder, feature-extraction]"]
    if results["classifier"] is not None:
        figures = (results["blend"] or results["classifier"])["test"]
        dataset = json.dumps(_source(config), ensure_ascii=False)
        lines += [
            "metrics: [accuracy, f1]",
            "model-index:",
            f"- name: {json.dumps(config.name)}",
            "  results:",
            "  - task: {type: classification}",
            f"    dataset: {{name: {dataset}, type: {dataset}, split: test}}",
            "    metrics:",
            f"    - {{type: accuracy, value: {figures['accuracy']:.6f}}}",
            f"    - {{type: f1, name: macro-F1, value: {figures['macro_f1']:.6f}}}",
            f"    - {{type: nll, name: negative log-likelihood, value: {figures['nll']:.6f}}}",
            f"    - {{type: ece, name: expected calibration error, value: {figures['ece']:.6f}}}",
        ]
    return "\n".join([*lines, "---", ""]) + "\n"


def _text(config: Config, results: Mapping[str, Any], model: Mapping[str, Any], place: str) -> Iterator[str]:
    data, classifier = results["data"], results["classifier"]
    widths = ", ".join(f"{layer['width']} ({layer['kind']}, {layer['unit']})" for layer in model["layers"])
    purpose = "A classifier" if classifier else "A feature extractor"
    yield f"{purpose}: a stack of autoencoders, pretrained layer by layer with stackae. Widths: {widths}."
    versions = ", ".join(f"{name} {results['environment'][name]}" for name in ("stackae", "torch"))
    yield from ("", f"Trained with {versions}; seed {results['seed']}.", "", "## Data", "")
    origin = "" if config.data.test is None else f" of {_code(_names(config.data.test))}"
    yield (
        f"{_code(_source(config))}: {data['train']:,} training rows, {data['val']:,} for validation, "
        f"{data['test']:,}{origin} for the test; {in_words(data)}. {data['features']:,} features."
    )
    if model["classes"]:
        yield from ("", f"Classes: {_listed(model['classes'])}.")
    yield from ("", "## Preprocessing", "", *_preprocessing(config, model["preprocessing"]))
    yield from ("", "## Results", "")
    if classifier:
        yield from ("| on the test rows | accuracy | macro-F1 | NLL | ECE |", "|---|---|---|---|---|")
        for name, key in (
            ("pretrained", "classifier"),
            ("the same network from scratch", "scratch"),
            ("the same from scratch, with labels alone", "labels_alone"),
        ):
            # Results of earlier versions have no control with labels alone.
            if results.get(key) is not None:
                figures = results[key]["test"]
                yield (
                    f"| {name} | {figures['accuracy']:.2%} | {figures['macro_f1']:.2%} "
                    f"| {figures['nll']:.3f} | {figures['ece']:.3f} |"
                )
        if results["blend"] is not None:
            figures = results["blend"]["test"]
            yield (
                f"| pretrained, averaged with {results['blend']['with'].replace('_', ' ')}: what this model "
                f"predicts | {figures['accuracy']:.2%} | {figures['macro_f1']:.2%} "
                f"| {figures['nll']:.3f} | {figures['ece']:.3f} |"
            )
        if (calibration := results["calibration"]) is not None and calibration["temperature"] != 1.0:
            figures = calibration["test"]["after"]
            yield from (
                "",
                f"The model divides its logits by {calibration['temperature']:.3g}, fitted to "
                f"{calibration['rows']:,} rows that were not learnt from: NLL {figures['nll']:.3f}, "
                f"ECE {figures['ece']:.3f} on the test rows.",
            )
        yield ""
        if results["verdict"] is not None:
            yield from (results["verdict"]["text"], "")
    error = results["reconstruction"]["test"]["mse"]
    yield f"Mean squared error of the reconstruction of the test rows: {error:.4g} per feature."
    yield from ("", "## Use", "", "```python", "import stackae", "", f"model = stackae.load({place!r})")
    yield "model.predict(rows), model.predict_proba(rows)" if classifier else "model.encode(rows)"
    yield from ("```", "", _rows(model))
    yield from ("", "## Limits", "")
    yield (
        "The figures hold for rows like those of the test, and no others: where rows come from elsewhere or "
        "from another time, they do not. `model.unlike(rows)` finds rows that are unlike the training data, "
        "and `model.reasons(rows)` says why; what is predicted for them is not to be trusted. Rows that are "
        "unlike it in a way that the reconstruction does not show are not found."
    )


def _preprocessing(config: Config, preprocessing: Mapping[str, Any]) -> Iterator[str]:
    if preprocessing["type"] == "scaling":
        scale = preprocessing["scale"]
        yield "None." if scale == 1 else f"Values are divided by {scale:g}."
    elif preprocessing["type"] == "fitted":
        yield f"Each feature is scaled {_SCALED[str(config.data.scaling)]}, as fitted to the training rows."
    else:
        scaling = config.data.scaling or "standard"
        how = _SCALED.get(scaling, "not at all")
        yield (
            f"Fitted to the training rows alone. Numbers are scaled {how}, unless the table says otherwise; "
            "a missing one is replaced by the median, and a feature says so if some training row lacks it. "
            f"Categories are one-hot; those with fewer than {config.data.rare} training rows are one."
        )
        yield from ("", "| column | type | missing cells |", "|---|---|---|")
        for column in preprocessing["columns"]:
            name = column["name"]
            # Within a table, a bar ends a cell even in code.
            shown = _code(name).replace("|", "\\|")
            type_ = f"not used: {column['dropped']}" if column["dropped"] else column["type"]
            type_name = config.data.types.get(name)
            extra = f", {_SCALED[type_name]}" if type_name in _SCALED and not column["dropped"] else ""
            yield f"| {shown} | {type_}{extra} | {column['missing']:,} |"


def _rows(model: Mapping[str, Any]) -> str:
    if model["preprocessing"]["type"] == "table":
        return "`rows` is a DataFrame with the columns above that are used, found by name."
    preprocessing = model["preprocessing"]
    grey = preprocessing["type"] == "scaling" and preprocessing["scale"] == 255
    units = "with values from 0 to 255" if grey else "in the units of the data"
    order = ", channels first" if grey and len(model["shape"]) == 3 else ""
    shape = ", ".join(map(str, model["shape"]))
    return f"`rows` is an array of shape (rows, {shape}), {units}{order}."


def _source(config: Config) -> str:
    return _names(config.data.source)


def _names(paths: str | Sequence[str]) -> str:
    """Return the names of files without the folders that they were in."""
    return ", ".join(Path(path).name or path for path in ((paths,) if isinstance(paths, str) else paths))


def _listed(names: list[str]) -> str:
    shown = ", ".join(_code(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"


def _code(text: str) -> str:
    """Return a text in one line as code, in which Markdown and HTML mean nothing; it may hold backticks."""
    line = " ".join(text.split()) or " "
    fence = "`" * (1 + max((len(ticks) for ticks in re.findall("`+", line)), default=0))
    space = " " if line[0] == "`" or line[-1] == "`" else ""
    return f"{fence}{space}{line}{space}{fence}"
