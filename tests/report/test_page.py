"""The report of a run, as files and as a browser shows it."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli
from sklearn.metrics import precision_score, recall_score

TINY = """\
data: {source: digits, labels: 300}
layers: [{width: 16}, {width: 8}]
pretrain: {epochs: 2}
finetune: {epochs: 3}
tracking: {wandb: disabled}
"""
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FIGURES = {
    "stack",
    "curves-pretrain-1",
    "curves-pretrain-2",
    "curves-classifiers",
    "time",
    "reconstructions",
    "weights",
    "activity",
    "probe",
    "map",
    "confusion",
    "reliability",
    "mistakes",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A folder in which a tiny config was carried out; not to be changed."""
    made = tmp_path_factory.mktemp("reported")
    (made / "tiny.yaml").write_text(TINY)
    done = cli(["run", "tiny.yaml"], made)
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


class Page(html.parser.HTMLParser):
    """What a page refers to, its pictures and its visible words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.pictures: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.addresses += [
            given[name] for name in ("src", "href", "srcset", "action", "data") if name in given
        ]
        if tag == "img":
            self.pictures.append(given.get("alt", ""))
        assert tag not in ("script", "iframe", "object", "embed")

    def handle_data(self, data: str) -> None:
        self.words += data.split()


def test_the_page_is_one_file_whose_pictures_say_in_words_what_they_show(folder: Path) -> None:
    text = (folder / "runs/tiny/report.html").read_text()
    page = Page(text)

    assert len(page.pictures) == len(FIGURES)
    assert all(len(alt) > 30 for alt in page.pictures)
    assert len(set(page.pictures)) == len(FIGURES)
    assert all(address.startswith("data:") for address in page.addresses)
    assert not re.search(r"url\((?!data:)|@import", text)
    verdict = json.loads((folder / "runs/tiny/results.json").read_text())["verdict"]["text"]
    words = " ".join(page.words)
    assert verdict in words
    assert words.index(verdict) < words.index("The stack and its training")


@pytest.mark.parametrize(
    ("validation", "says", "curves"),
    [
        ("auto", "300 labels to learn from, in 5 folds; seed 0", "Training loss of the classifiers"),
        ("none", "300 labels to learn from; seed 0", "Training loss of the classifiers"),
        ("{share: 0.2}", "60 of them first held out; seed 0", "Training loss and validation error of the"),
    ],
)
def test_the_page_says_what_labels_were_used_for(
    copy: Path, cli: Cli, validation: str, says: str, curves: str
) -> None:
    assert cli(["run", "tiny.yaml", f"finetune.validation={validation}"], copy).returncode == 0
    page = Page((copy / "runs/tiny/report.html").read_text())
    words = " ".join(page.words)
    assert says in words
    assert any(alt.startswith(curves) for alt in page.pictures)
    results = json.loads((copy / "runs/tiny/results.json").read_text())
    if validation == "none":
        assert results["classifier"]["val"] is None
        assert "pretrained error" not in words
    else:
        name = "error out of fold" if validation == "auto" else "validation error"
        assert f"{results['classifier']['val']['error']:.2%} {name}, pretrained" in words


def test_each_figure_has_ink_for_light_and_for_dark_paper(folder: Path) -> None:
    from base64 import b64decode

    text = (folder / "runs/tiny/report.html").read_text()
    pairs = re.findall(
        r'srcset="data:image/svg\+xml;base64,([^"]+)"><img src="data:image/svg\+xml;base64,([^"]+)"', text
    )
    assert len(pairs) == len(FIGURES)
    for dark, light in pairs:
        on_dark, on_light = b64decode(dark).decode(), b64decode(light).decode()
        assert on_light.startswith("<svg")
        assert "#1f2328" not in on_dark
        assert "#e6edf3" not in on_light
        assert on_dark != on_light or "#1f2328" not in on_light


def test_the_per_class_table_has_the_figures_of_the_predictions(folder: Path) -> None:
    run = folder / "runs/tiny"
    rows = np.genfromtxt(run / "test-predictions.csv", delimiter=",", names=True, dtype=None, encoding=None)
    recall = recall_score(rows["class"], rows["pretrained"], average=None)
    precision = precision_score(rows["class"], rows["pretrained"], average=None, zero_division=0)
    markdown_rows = {}
    for line in re.findall(r"<tr>(.*?)</tr>", (run / "report.html").read_text()):
        cells = re.findall(r"<td>(.*?)</td>", line)
        if len(cells) == 4 and cells[0].isdigit():
            markdown_rows[int(cells[0])] = cells[1:]
    assert sorted(markdown_rows) == list(range(10))
    for digit, (count, shown_recall, shown_precision) in markdown_rows.items():
        assert int(count) == (rows["class"] == digit).sum()
        assert shown_recall == f"{recall[digit]:.2%}"
        taken = (rows["pretrained"] == digit).any()
        assert shown_precision == (f"{precision[digit]:.2%}" if taken else "–")


def test_a_page_that_shows_these_stages_is_left_alone_and_one_that_does_not_is_made_anew(
    copy: Path, cli: Cli
) -> None:
    page = copy / "runs/tiny/report.html"
    before = page.stat().st_mtime_ns
    assert cli(["run", "tiny.yaml"], copy).returncode == 0
    assert page.stat().st_mtime_ns == before
    assert cli(["run", "tiny.yaml", "finetune.epochs=2"], copy).returncode == 0
    assert page.stat().st_mtime_ns > before


def test_the_report_is_written_again_from_the_store_and_as_markdown(copy: Path, cli: Cli) -> None:
    run = copy / "runs/tiny"
    page = run / "report.html"
    first = page.read_text()
    page.unlink()

    assert cli(["report", "runs/tiny"], copy).returncode == 0
    assert page.read_text() == first
    done = cli(["report", "runs/tiny", "--format", "md"], copy)
    assert done.stdout.strip() == "runs/tiny/report.md"
    text = (run / "report.md").read_text()
    assert {path.stem for path in (run / "report").iterdir()} == FIGURES
    for alt, link in re.findall(r"!\[(.+)\]\((.+)\)", text):
        assert alt
        assert (run / link).read_text().startswith("<svg")
    assert len(re.findall(r"!\[", text)) == len(FIGURES)


def test_without_its_stages_there_is_one_line_that_says_how_to_get_them(copy: Path, cli: Cli) -> None:
    shutil.rmtree(copy / ".stackae")
    done = cli(["report", "runs/tiny"], copy)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "stackae run runs/tiny/config.yaml" in done.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 390), ("dark", 390), ("light", 1280), ("dark", 1280)]
)
def test_a_browser_shows_all_of_it_at_phone_and_desktop_width(
    folder: Path, tmp_path: Path, scheme: str, width: int
) -> None:
    from playwright.sync_api import sync_playwright

    page_file = (folder / "runs/tiny/report.html").resolve()
    complaints: list[str] = []
    requests: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(page_file.as_uri())
        shown = page.evaluate(
            "Array.from(document.images, i => [i.alt, i.naturalWidth > 0, i.getBoundingClientRect().width])"
        )
        overflow = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.screenshot(path=tmp_path / "report.png", full_page=True)
        browser.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("data:", "file:"))] == []
    assert [url for url in requests if url.startswith("file:")] == [page_file.as_uri()]
    assert len(shown) == len(FIGURES)
    assert all(alt and drawn and 0 < wide <= width for alt, drawn, wide in shown)
    assert overflow <= 0
    assert sum(map(int, re.findall(r"\d+", background)[:3])) > 600 if scheme == "light" else True
    assert sum(map(int, re.findall(r"\d+", background)[:3])) < 150 if scheme == "dark" else True
    assert (tmp_path / "report.png").stat().st_size > 50_000
