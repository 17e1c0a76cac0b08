"""What the tests of the bindings share: the ways in, and a sidecar for a test."""

from __future__ import annotations

import os
import pathlib
import subprocess

WAYS = ["embedded", "attached", "remote"]


class Sidecar:
    """`pillion serve` on a directory of its own."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.dir = folder / "cache"
        self.socket = folder / "s.sock"
        config = folder / "pillion.toml"
        config.write_text(f'dir = "{self.dir}"\nsocket = "{self.socket}"\n')
        command = os.environ.get("PILLION_COMMAND")
        assert command, "the scripts `bindings/*/test` set PILLION_COMMAND to the command `pillion`"
        self.log = (folder / "log").open("w")
        self.process = subprocess.Popen([command, "serve", "--config", str(config)], stderr=self.log)

    def kill(self) -> None:
        """Ends the process as a crash does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ends the process."""
        self.process.terminate()
        try:
            self.process.wait(timeout=60)
        finally:
            self.process.kill()
            self.log.close()
