"""Files elsewhere: an S3 server and a web server on this machine, the cache, and what is refused."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pandas as pd
import pytest
from conftest import Cli
from moto.server import ThreadedMotoServer

from stackae.config import DataConfig
from stackae.data.files import remote
from stackae.data.files.paths import as_paths
from stackae.data.read import read_source
from stackae.errors import DataError, StorageError

TABLE = "a,b,y\n" + "".join(f"{row},{row * row % 7},{'no' if row % 3 else 'yes'}\n" for row in range(60))

SMALL = {
    "layers": [{"width": 4}],
    "pretrain": {"epochs": 2},
    "finetune": {"epochs": 2},
    "compare": {"scratch": False, "probe": False, "baselines": "none"},
    "trainer": {"accelerator": "cpu"},
    "tracking": {"wandb": "disabled"},
    "report": False,
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """An S3 server in this process; its address."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, outside of which nothing is kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "stackae" / "remote"


@pytest.fixture
def bucket(server: str, cache: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """A bucket of its own for each test, for which the environment has the credentials."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = f"b{abs(hash(request.node.name))}"
    bucket = boto3.resource("s3").Bucket(name)
    bucket.create()
    return bucket


def put(bucket: Any, key: str, content: str | bytes = TABLE) -> str:
    bucket.put_object(Key=key, Body=content)
    return f"s3://{bucket.name}/{key}"


def files_of(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file() and path.name != ".lock")


def test_the_command_line_reads_a_bucket(bucket: Any, cli: Cli, tmp_path: Path) -> None:
    url = put(bucket, "some/t.csv")
    done = cli(["inspect", url, "--target", "y"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{url}: a table, 60 rows, 2 columns")
    assert cli(["init", url, "--target", "y"], tmp_path).returncode == 0
    written = (tmp_path / "t.yaml").read_text()
    assert url in written
    (tmp_path / "t.yaml").write_text(written + "trainer: {accelerator: cpu}\ntracking: {wandb: disabled}\n")
    words = ["pretrain.epochs=1", "finetune.epochs=1", "compare={scratch: false, probe: false}"]
    done = cli(["run", "t.yaml", *words], tmp_path)
    assert done.returncode == 0, done.stderr
    done = cli(["predict", "runs/t", url, "-o", "found.csv"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "found.csv").read_text().splitlines()) == 61
    second = put(bucket, "some/u.csv")
    done = cli(["predict", "runs/t", f"s3://{bucket.name}/some", "-o", "found.csv"], tmp_path)
    assert done.returncode == 0, done.stderr
    found = pd.read_csv(tmp_path / "found.csv")
    assert found["file"].tolist() == [url] * 60 + [second] * 60


def arrays(seed: int, rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    return {"x": (y[:, None] + rng.normal(0, 0.5, (rows, 6))).astype(np.float32), "y": y}


def as_csv(part: dict[str, np.ndarray]) -> bytes:
    return pd.DataFrame(part["x"], columns=list("abcdef")).assign(y=part["y"]).to_csv(index=False).encode()


def as_parquet(part: dict[str, np.ndarray]) -> bytes:
    return pd.DataFrame(part["x"], columns=list("abcdef")).assign(y=part["y"]).to_parquet(index=False)


def as_npz(part: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **part)
    return file.getvalue()


def as_npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


LEARN, TEST = arrays(0, 120), arrays(1, 40)
FORMS = {
    "csv": ({"source.csv": as_csv(LEARN), "test.csv": as_csv(TEST)}, {"target": "y"}, "test.csv"),
    "parquet": (
        {"source.parquet": as_parquet(LEARN), "test.parquet": as_parquet(TEST)},
        {"target": "y"},
        "test.parquet",
    ),
    "npz": ({"source.npz": as_npz(LEARN), "test.npz": as_npz(TEST)}, {}, "test.npz"),
    "npy": (
        {
            "source.npy": as_npy(LEARN["x"]),
            "test.npy": as_npy(TEST["x"]),
            "target.npy": as_npy(np.concatenate([LEARN["y"], TEST["y"]])),
        },
        {},
        "test.npy",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_run_on_a_bucket_is_the_run_on_the_disk(form: str, bucket: Any, cli: Cli, tmp_path: Path) -> None:
    files, words, rows = FORMS[form]
    found = {}
    for place in ("disk", "bucket"):
        folder = tmp_path / place
        folder.mkdir()
        for name, content in files.items():
            if place == "disk":
                (folder / name).write_bytes(content)
            else:
                put(bucket, f"rows/{name}", content)
        at = "" if place == "disk" else f"s3://{bucket.name}/rows/"
        data = {name.partition(".")[0]: f"{at}{name}" for name in files} | words
        (folder / "run.yaml").write_text(json.dumps({"data": data, **SMALL}))
        # Each with a store of its own, so that the second learns all anew.
        done = cli(["run", "run.yaml", "--out", "run"], folder)
        assert done.returncode == 0, done.stderr
        done = cli(["predict", "run", f"{at}{rows}", "-o", "found.parquet"], folder)
        assert done.returncode == 0, done.stderr
        done = cli(["encode", "run", f"{at}{rows}", "-o", "codes.npy"], folder)
        assert done.returncode == 0, done.stderr
        results = json.loads((folder / "run/results.json").read_text())
        found[place] = {
            "keys": {stage["stage"]: stage["key"] for stage in results["stages"]},
            "test": results["classifier"]["test"],
            "model": {
                path.name: hashlib.sha256(path.read_bytes()).hexdigest()
                for path in (folder / "run/model").glob("*.safetensors")
            },
            "predicted": (folder / "found.parquet").read_bytes(),
            "codes": (folder / "codes.npy").read_bytes(),
        }
    assert len(found["disk"]["model"]) > 1
    assert found["bucket"] == found["disk"]


def test_a_copy_is_used_as_long_as_the_file_is_the_same(
    bucket: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = put(bucket, "t.csv")
    (first,) = as_paths(url)
    assert first.name == "t.csv"
    assert first.read_text() == TABLE
    stamp = first.stat().st_mtime_ns
    assert as_paths(url) == [first]
    assert first.stat().st_mtime_ns == stamp
    before = read_source(DataConfig(source=url, target="y")).fingerprint

    # Of the same size, so that only the version tells.
    put(bucket, "t.csv", TABLE.replace("yes", "wow"))
    (second,) = as_paths(url)
    assert second.read_text() == TABLE.replace("yes", "wow")
    assert files_of(cache) == [second]
    changed = read_source(DataConfig(source=url, target="y"))
    assert changed.classes == ("no", "wow")
    assert changed.fingerprint != before

    put(bucket, "t.csv")
    assert read_source(DataConfig(source=url, target="y")).fingerprint == before


def test_the_fingerprint_is_that_of_the_content(bucket: Any, tmp_path: Path) -> None:
    (tmp_path / "here.csv").write_text(TABLE)
    fingerprints = {
        read_source(DataConfig(source=source, target="y")).fingerprint
        for source in (str(tmp_path / "here.csv"), put(bucket, "a/1.csv"), put(bucket, "b/2.txt"))
    }
    assert len(fingerprints) == 1


def test_folders_globs_and_partitions_of_a_bucket(bucket: Any, cache: Path) -> None:
    for part in (1, 2, 3):
        put(bucket, f"data/part={part}/x.csv")
    put(bucket, "data/_SUCCESS", "")
    put(bucket, "data/readme.md", "words")
    root = f"s3://{bucket.name}/data"
    listed = [f"{root}/part={part}/x.csv" for part in (1, 2, 3)]
    for source in (root, f"{root}/part=*/x.csv", f"{root}/part=*", listed):
        found = read_source(DataConfig.model_validate({"source": source, "target": "y"}))
        assert len(found.rows) == 180
        assert found.columns is not None
        assert [column.name for column in found.columns] == ["a", "b", "part"]
    assert len(files_of(cache)) == 3


def test_a_file_is_asked_for_once_each_time_that_data_are_read(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = put(bucket, "t.csv")
    asked = []
    connect = remote._connect
    monkeypatch.setattr(remote, "_connect", lambda url: asked.append(url) or connect(url))
    read_source(DataConfig(source=url, target="y"))
    assert asked == [url]


def refused(source: str, **words: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_source(DataConfig.model_validate({"source": source, "target": "y"} | words))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_errors_name_the_remote_file_and_not_its_copy(bucket: Any, cache: Path) -> None:
    url = put(bucket, "t.csv", "a,b,y\n1,2,no\n1,2,no,3\n")
    assert refused(url).startswith(f"{url}: data row 2 has 4 cells")
    assert f"'{url}' is in data.source too" in refused(put(bucket, "t.csv"), test=url)
    assert f"'{put(bucket, 't.xyz')}' has none of the endings" in refused(f"s3://{bucket.name}/t.xyz")


def test_what_is_not_there_is_said(bucket: Any, cache: Path) -> None:
    url = f"s3://{bucket.name}/none.csv"
    assert refused(url) == f"'{url}': there is no such file; correct it"
    assert "fits no file" in refused(f"s3://{bucket.name}/*.csv")
    put(bucket, "pictures/x.png", "p")
    assert "there are no tables in this folder" in refused(f"s3://{bucket.name}/pictures")
    assert "cannot be read (Protocol not known: nosuch)" in refused("nosuch://x/t.csv")
    assert files_of(cache) == []


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused("gs://bucket/t.csv")
    assert "gcsfs" in message
    import fsspec

    def missing(url: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    assert refused("s3://b/t.csv").endswith("(Install s3fs to access S3); pip install 'stackae[remote]'")


def test_a_file_larger_than_the_disk_is_not_fetched(
    bucket: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = put(bucket, "t.csv")
    monkeypatch.setattr(remote, "free_at", lambda path: 10)
    with pytest.raises(StorageError, match="set XDG_CACHE_HOME to a folder on another disk"):
        as_paths(url)
    assert files_of(cache) == []


def test_a_cache_that_cannot_be_written_is_said(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = put(bucket, "t.csv")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"cannot be written .*; set XDG_CACHE_HOME to a folder that can"):
        as_paths(url)


def test_names_of_remote_files_stay_in_the_cache(bucket: Any, cache: Path) -> None:
    (copy,) = as_paths(put(bucket, "x=1/..\\..\\t:1.csv"))
    assert copy.is_relative_to(cache)
    assert copy.read_text() == TABLE
    for name in ("..", ".", ""):
        assert remote._safe(name) not in ("", ".", "..")


# ---- the web


class Handler(http.server.BaseHTTPRequestHandler):
    content, tag = TABLE.encode(), '"one"'
    gets = 0

    def do_HEAD(self) -> None:
        found = self.path.startswith("/t.csv")
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(self.content)))
        if self.tag:
            self.send_header("ETag", self.tag)
        self.end_headers()

    def do_GET(self) -> None:
        Handler.gets += 1
        self.do_HEAD()
        self.wfile.write(self.content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def web(cache: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Handler.content, Handler.tag, Handler.gets = TABLE.encode(), '"one"', 0
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_of_the_web_is_fetched_again_when_its_tag_changes(web: str) -> None:
    url = f"{web}/t.csv?version=1&part=3"
    (copy,) = as_paths(url)
    assert (copy.name, copy.read_text(), Handler.gets) == ("t.csv", TABLE, 1)
    assert as_paths(url) == [copy]
    assert Handler.gets == 1
    Handler.content, Handler.tag = TABLE.replace("yes", "wow").encode(), '"two"'
    (copy,) = as_paths(url)
    assert "wow" in copy.read_text()
    assert Handler.gets == 2


def test_a_file_of_the_web_without_a_version_is_fetched_each_time(web: str) -> None:
    url = f"{web}/t.csv"
    Handler.tag = ""
    as_paths(url)
    Handler.content = TABLE.replace("yes", "wow").encode()
    (copy,) = as_paths(url)
    assert "wow" in copy.read_text()
    assert Handler.gets == 2


def test_a_file_that_the_web_has_not_is_refused(web: str) -> None:
    assert "cannot be read (ClientResponseError: 404" in refused(f"{web}/none.csv")
    assert "cannot be read (ClientConnector" in refused("http://127.0.0.1:9/none.csv")


def test_paths_without_a_scheme_are_no_remote_ones() -> None:
    assert not any(map(remote.is_remote, ["a.csv", "/a//b.csv", "C:\\x.csv", "a:b.csv", "://x"]))
