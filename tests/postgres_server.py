"""A PostgreSQL server of its own for a test: on 127.0.0.1, without a password, gone when the block ends."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

SECONDS = 60
_PR_SET_PDEATHSIG = 1


class PostgresServer:
    """A server that can be stopped and started again; `url` is what `--store` takes."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._programs, self._data = programs, folder / "data"
        self._log = folder / "log.txt"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"postgresql+psycopg://bench@127.0.0.1:{self.port}/postgres"
        options = ("--username=bench", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        subprocess.run(
            [str(programs / "initdb"), "-D", str(self._data), *options],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=SECONDS,
            cwd=folder,
            **_other_user(),
        )

    def start(self) -> None:
        listening = ("-h", "127.0.0.1", "-p", str(self.port), "-c", "unix_socket_directories=")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self._data), "-F", *listening],
                stdout=log,
                stderr=log,
                cwd=self._data.parent,
                start_new_session=True,
                preexec_fn=_end_with_the_test,
                **_other_user(),
            )
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < deadline, self._log.read_text()
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        """As if it had crashed: all connections are lost at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # its immediate shutdown
            self._process.wait(SECONDS)
            self._process = None

    def connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True, connect_timeout=10)

    def clear(self) -> None:
        with self.connect() as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Skips the test where no server is installed."""
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed: apt install postgresql")
    if os.geteuid() == 0 and "postgres:" not in Path("/etc/passwd").read_text():
        pytest.skip("PostgreSQL refuses to run as root, and there is no user `postgres`")
    with tempfile.TemporaryDirectory(prefix="mtlbench-postgres-") as name:
        if os.geteuid() == 0:
            shutil.chown(name, "postgres")
        server = PostgresServer(Path(name), programs)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _programs() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


def _other_user() -> dict[str, Any]:
    """For `subprocess`: a server refuses to run as root."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


def _end_with_the_test() -> None:
    """Also where the test's process is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
