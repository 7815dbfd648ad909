import subprocess
import sys
from pathlib import Path

from stackae.tracking.tracker import NullTracker, make_tracker


def test_disabled_tracking_logs_nothing_and_leaves_no_trace(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    warnings: list[str] = []
    tracker = make_tracker(
        "disabled", project="p", entity=None, group="run", folder=folder, warn=warnings.append
    )
    assert isinstance(tracker, NullTracker)
    with tracker.stage("pretrain-1", {"epochs": 1}, []) as log:
        assert log.logger is False
        log.finish({"key": "0" * 64}, folder)
    assert not folder.exists()
    assert warnings == []


def test_choosing_a_tracker_loads_neither_wandb_nor_torch() -> None:
    code = """
import sys
from pathlib import Path
from stackae.tracking.tracker import make_tracker
make_tracker("auto", project="p", entity=None, group="g", folder=Path("nowhere"), warn=print)
print(sorted({"wandb", "torch", "pytorch_lightning"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert not Path("nowhere").exists()
