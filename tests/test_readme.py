"""The README's commands and snippets, run as printed, in order, in one folder."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", README.read_text("utf-8"), re.M | re.S)

# What sets up the machine is run by make itself, which runs this test.
SKIPPED = ("make demo", "pip install")


def await_daemon(log: Path, count: int) -> None:
    deadline = time.monotonic() + 20
    while log.read_text("utf-8").count(" at tcp://") < count:
        assert time.monotonic() < deadline, f"no daemon started: {log.read_text('utf-8')}"
        time.sleep(0.02)


def test_every_block_runs_as_printed(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    assert shutil.which("onlinesvm", path=environment["PATH"])
    log = tmp_path / "daemons.log"
    log.touch()
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for language, block in BLOCKS:
            if language == "python":
                script = tmp_path / "snippet.py"
                script.write_text(block, "utf-8")
                commands = [f"{sys.executable} {script}"]
            else:
                commands = [line for line in block.splitlines() if not line.startswith(SKIPPED)]
            for command in commands:
                if command.endswith("&"):
                    with log.open("ab") as stderr:
                        daemons.append(
                            subprocess.Popen(
                                command[:-1].split(), cwd=tmp_path, env=environment, stderr=stderr
                            )
                        )
                    await_daemon(log, len(daemons))
                    continue
                done = subprocess.run(
                    command,
                    shell=True,
                    cwd=tmp_path,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=60,
                )
                assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
                assert "Traceback" not in done.stderr
    finally:
        for daemon in daemons:
            daemon.send_signal(signal.SIGTERM)
        codes = [daemon.wait(20) for daemon in daemons]
    assert codes == [0, 0]
