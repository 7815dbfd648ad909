"""Measures stackae: `python scripts/bench.py all --json`, or one of the commands that `--help` lists.

docs/benchmarks.md says what each figure means and holds the figures of one machine.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

# OpenMP reads it when torch is imported; it is what stackae's own entry sets.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd
import torch
import typer
from bench_gpu import gpu
from bench_memory import memory
from bench_peers import peers
from bench_scale import scale
from bench_step import CASES, Case, figures, line, measure

import stackae
from stackae.build import build_unit
from stackae.commands.predict import predict as predict_rows
from stackae.config import LayerConfig, TrainerConfig
from stackae.config_file import load_config
from stackae.data.features import encode
from stackae.data.new_rows import read_rows
from stackae.data.rows import CHUNK
from stackae.machine.hardware import resolve

app = typer.Typer(add_completion=False, no_args_is_help=True)


app.command()(gpu)
app.command()(memory)
app.command()(scale)


@app.callback()
def bench() -> None:
    """Benchmarks of stackae."""


@app.command()
def step(
    rows: Annotated[int, typer.Option(help="Training rows of an epoch; a tenth as many validate.")] = 20_000,
    rounds: Annotated[int, typer.Option(help="Timed epochs of each variant, in turn.")] = 15,
    threads: Annotated[int, typer.Option(help="Threads of torch; 0 keeps torch's own number.")] = 0,
    precision: Annotated[str, typer.Option(help="auto, 32-true or bf16-mixed.")] = "auto",
    small: Annotated[bool, typer.Option("--small", help="The smallest layer and batch alone.")] = False,
    processor: Annotated[
        bool, typer.Option("--processor", help="Processor time, which waiting for other work is no part of.")
    ] = False,
) -> list[dict[str, Any]]:
    """Times epochs of ours, of plain PyTorch loops, and of their matrix products alone."""
    if precision not in ("auto", "32-true", "bf16-mixed"):
        raise typer.BadParameter(f"'{precision}'; use auto, 32-true or bf16-mixed", param_hint="--precision")
    if threads:
        torch.set_num_threads(threads)
    hardware = resolve(TrainerConfig.model_validate({"precision": precision, "threads": threads or "auto"}))
    print(
        f"torch {torch.__version__} on {platform.system()} {platform.machine()}, {hardware.device.type}, "
        f"{hardware.precision}, {torch.get_num_threads()} of {os.cpu_count()} cores; "
        f"{rows} rows; medians of {rounds} rounds{', processor time' * processor}\n"
    )
    print("| fit | batch | ours s/epoch | by hand | products | ours rows/s | ours/hand | ours/products |")
    print("|---|---|---|---|---|---|---|---|")
    made, clock = [], time.process_time if processor else time.monotonic
    for inputs, units, batch in CASES[:1] if small else CASES:
        for labelled in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                case = Case(inputs, units, batch, Path(folder), hardware, labelled)
                case.write(rows)
                made.append(figures(case, rows, measure(case, rounds, clock)))
                print(line(made[-1]), flush=True)
    return made


@app.command()
def whole(
    configs: Annotated[list[Path] | None, typer.Argument(help="Configs; digits.yaml by default.")] = None,
    jobs: Annotated[int, typer.Option(help="A second run has so many.")] = 2,
) -> list[dict[str, Any]]:
    """Times whole runs in processes of their own, beside the time of their stages."""
    print("| run | jobs | s | CPU s | of which stages, s |")
    print("|---|---|---|---|---|")
    made = []
    for config in configs or [Path("configs/digits.yaml")]:
        for number in (1, jobs):
            with tempfile.TemporaryDirectory() as folder:
                words = [config, "--jobs", number, "--out", f"{folder}/run", "--store", f"{folder}/store"]
                command = [sys.executable, "-m", "stackae", "run", *map(str, words), "--quiet"]
                before, start = _children(), time.monotonic()
                subprocess.run([*command, "tracking.wandb=offline"], check=True)
                seconds, processor = time.monotonic() - start, _children() - before
                results = json.loads((Path(folder) / "run" / "results.json").read_text())
            stages = sum(stage["seconds"] or 0.0 for stage in results["stages"])
            made.append(
                {"run": config.stem, "jobs": number, "s": seconds, "cpu": processor, "stages": stages}
            )
            print(
                f"| {config.stem} | {number} | {seconds:.1f} | {processor:.1f} | {stages:.1f} |", flush=True
            )
    return made


@app.command("peers")
def against_peers(
    rows: Annotated[int, typer.Option(help="Training rows of an epoch.")] = 20_000,
    rounds: Annotated[int, typer.Option(help="Timed epochs of each, in turn.")] = 5,
    processor: Annotated[
        bool, typer.Option("--processor", help="Processor time, which waiting for other work is no part of.")
    ] = False,
) -> list[dict[str, Any]]:
    """Times epochs of pretraining by ours and by packages that others publish, those that are installed."""
    hardware, made = resolve(TrainerConfig.model_validate({"precision": "32-true"})), []
    print(f"{rows} rows; medians of {rounds} rounds; {torch.get_num_threads()} threads\n")
    print("| package | layer | batch | s/epoch | times ours |")
    print("|---|---|---|---|---|")
    for inputs, units, batch in (CASES[0], CASES[-1]):
        with tempfile.TemporaryDirectory() as folder:
            case = Case(inputs, units, batch, Path(folder), hardware)
            case.write(rows)
            clock = time.process_time if processor else time.monotonic
            seconds = measure(case, rounds, clock, peers(case))
        for name, each in seconds.items():
            took = statistics.median(each)
            times = statistics.median(a / b for a, b in zip(each, seconds["ours"], strict=True))
            made.append({"package": name, "layer": f"{inputs}-{units}", "s": took, "times ours": times})
            print(f"| {name} | {inputs}-{units} | {batch} | {took:.3f} | {times:.2f} |", flush=True)
    return made


@app.command("encode")
def encoding(
    rows: Annotated[int, typer.Option(help="Rows that are encoded.")] = 50_000,
    rounds: Annotated[int, typer.Option(help="Timed encodings of each.")] = 5,
) -> list[dict[str, Any]]:
    """Times how a layer's features are written, beside the matrix products of them."""
    hardware, made = resolve(TrainerConfig.model_validate({"precision": "32-true"})), []
    print("| layer | s | rows/s | products, s | products/ours |")
    print("|---|---|---|---|---|")
    for inputs, units, batch in (CASES[0], CASES[-1]):
        with tempfile.TemporaryDirectory() as folder:
            case = Case(inputs, units, batch, Path(folder), hardware)
            case.write(rows)
            unit, x = build_unit(LayerConfig(width=units), (inputs,), first=True), case.read("train")
            weight = unit.encoder[1].weight.detach()

            def ours(encoder: Any = unit.encoder, x: Any = x, folder: str = folder) -> None:
                encode(encoder, x, Path(folder) / "codes.npy", hardware.device)

            def products(weight: Any = weight, x: Any = x) -> None:
                for at in range(0, rows, CHUNK):
                    _ = torch.from_numpy(np.array(x[at : at + CHUNK])) @ weight.t()

            pairs = [(_seconds(ours), _seconds(products)) for _ in range(rounds + 1)][1:]
        took, bare = (statistics.median(each) for each in zip(*pairs, strict=True))
        made.append({"layer": f"{inputs}-{units}", "s": took, "share": bare / took})
        print(f"| {inputs}-{units} | {took:.3f} | {rows / took:,.0f} | {bare:.3f} | {bare / took:.2f} |")
    return made


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@app.command()
def start(rounds: Annotated[int, typer.Option(help="Starts of each.")] = 5) -> dict[str, float]:
    """Times `import stackae` and `stackae --help`."""
    made = {}
    for called, words in (
        ("import stackae", ["-c", "import stackae"]),
        ("--help", ["-m", "stackae", "--help"]),
    ):
        command = [sys.executable, *words]
        made[called] = statistics.median(
            _seconds(partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL))
            for _ in range(rounds)
        )
        print(f"{called}: {made[called]:.2f} s", flush=True)
    return made


@app.command("all")
def everything(
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON in the end.")] = False,
    small: Annotated[bool, typer.Option("--small", help="The smallest layers alone, few rounds.")] = False,
) -> None:
    """Takes all of these measurements but `gpu`, and `memory` and `scale`, which take gigabytes of disk."""
    rounds = 3 if small else 15
    made: dict[str, Any] = {"start": start(rounds), "step": step(rounds=rounds, small=small)}
    made |= {"predict": predict(rows=10_000 if small else 100_000, rounds=rounds), "whole": whole(None)}
    made |= {"encode": encoding(rounds=rounds), "peers": against_peers(rounds=rounds)}
    if as_json:
        print(json.dumps(made, indent=1))


@app.command()
def predict(
    rows: Annotated[int, typer.Option(help="Rows of the table.")] = 100_000,
    rounds: Annotated[int, typer.Option(help="Timed predictions; the first of all does not count.")] = 7,
) -> dict[str, float]:
    """Times `stackae predict` of a CSV with 6 numeric and 8 categorical columns, and its parts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _table(2_000).to_csv(folder / "train.csv", index=False)
        _table(rows).drop(columns="label").to_csv(folder / "rows.csv", index=False)
        (folder / "run.yaml").write_text(RUN.format(source=folder / "train.csv"))
        stackae.run(folder / "run.yaml", out=folder / "run", store=folder / "store")
        model = stackae.load(folder / "run")
        given = read_rows(
            str(folder / "rows.csv"), load_config(folder / "run.yaml").data, model.preprocessing
        )

        def flagged() -> None:
            path, out = [str(folder / "rows.csv")], folder / "found.csv"
            predict_rows(folder / "run", path, out, keep=(), only_flagged=False, quiet=True)

        def read() -> None:
            read_rows(str(folder / "rows.csv"), load_config(folder / "run.yaml").data, model.preprocessing)

        loaded = [raw for _, raw in given.rows.chunks()]

        def judged() -> None:
            for raw in loaded:
                model.judge(raw)

        def plain() -> None:
            for _ in model.map(given.rows, model.predict_proba):
                pass

        print(f"{rows:,} rows, {torch.get_num_threads()} threads, {os.cpu_count()} cores\n")
        print("| work | s | rows/s |")
        print("|---|---|---|")
        works = {
            "predict, with flags, CSV to CSV": flagged,
            "of which checking the file": read,
            "predict rows in memory, with flags": judged,
            "read once and predict, without flags": plain,
        }
        made = {}
        for called, work in works.items():
            made[called] = statistics.median(_seconds(work) for _ in range(rounds + 1))
            print(f"| {called} | {made[called]:.2f} | {rows / made[called]:,.0f} |", flush=True)
    return made


RUN = """\
name: bench
data: {{source: {source}, target: label}}
layers: [{{width: 128}}, {{width: 64}}]
pretrain: {{epochs: 1}}
finetune: {{epochs: 1}}
compare: {{scratch: false, probe: false, baselines: none}}
tracking: {{wandb: disabled}}
"""


def _table(rows: int) -> pd.DataFrame:
    """A table like the census's: as many columns, of as many categories, some of them missing."""
    rng = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {f"number {at}": rng.integers(0, 10**at + 50, rows) for at in range(6)}
    for at, categories in enumerate((8, 16, 7, 14, 6, 5, 2, 41)):
        names = np.array(["", *(f"category {at}.{one}" for one in range(categories))])
        made[f"text {at}"] = names[rng.integers(at % 2, categories + 1, rows)]
    return pd.DataFrame(made | {"label": rng.choice(["no", "yes"], rows)})


def _seconds(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


if __name__ == "__main__":
    app()
