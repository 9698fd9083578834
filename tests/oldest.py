"""What `make test-oldest` runs: every command once, with the oldest versions that setup.cfg allows."""

import subprocess
import sys
import tempfile
from pathlib import Path

TINY = ("training.steps=50", "training.batch_size=64", "seed=[0, 1]", "population.widths=[4, 8, 16]")
COMMANDS = (
    ("generate", "task.safetensors", "-K", "8", "-n", "16", "--samples", "100"),
    ("train", "demo", "--out", "run", *(part for value in TINY for part in ("--set", value))),
    ("status", "run"),
    ("verify", "run"),
    ("analyze", "run", "--details"),
    ("figures", "run"),
    ("discover", "run", "--samples", "200"),
    ("simulate", "ideal", "--out", "ideal.nc"),
    ("analyze", "ideal.nc", "--json"),
    ("figures", "ideal.nc", "--format", "pdf"),
    ("compare", "ideal.nc"),
    ("import", "csv", "table.csv", "--alpha", "0.4", "--out", "table.nc"),
)


def main() -> None:
    """Run them in an empty folder; the first that fails, fails."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "table.csv").write_text("width,step,subtask,loss\n4,0,1,1.0\n4,0,2,1.0\n")
        for command in COMMANDS:
            print("quanta", *command, flush=True)
            done = subprocess.run(
                [sys.executable, "-m", "quanta", *command],
                cwd=folder,
                stdout=subprocess.PIPE,
                check=True,
            )
            assert done.stdout, command
        assert list(Path(folder).glob("run/figures/*.png"))


if __name__ == "__main__":
    main()
