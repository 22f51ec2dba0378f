"""The store on SQLite and PostgreSQL: what folders or the index have lost comes back from the other."""

import json
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from postgres_server import PostgresServer
from sqlalchemy import text
from sqlalchemy.orm import Session
from test_folder import make_result

import mtlbench
from mtlbench import store
from mtlbench.errors import MtlbenchError
from mtlbench.folder import Failure, Job
from mtlbench.index import Index, IndexUnavailable, RunsRecord
from mtlbench.store import Runs

TIMEOUT = 60


@pytest.fixture
def runs(tmp_path: Path, url: str | None) -> Runs:
    return Runs(tmp_path / "runs", url)


def add(runs: Runs, cell: str, *, done: bool = True, score: float = 0.5) -> None:
    folder = runs.folder(cell)
    result = make_result()
    result.scores["depth"]["depth.rmse.pixels"] = score
    folder.create(Job(cell=result.cell, folder=folder.path))
    if done:
        folder.finish(result)


def result_file(runs: Runs, cell: str) -> Path:
    return runs.folder(cell).path / "result.json"


def states(runs: Runs) -> dict[str, str]:
    return {cell: summary.state for cell, summary in runs.summaries().items()}


def again(runs: Runs, url: str | None) -> Runs:
    """As another process sees it."""
    return Runs(runs.root, url)


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda file: os.truncate(file, 200),
        lambda file: file.write_bytes(b"\0" + file.read_bytes()[1:]),
    ],
    ids=["missing", "cut", "changed"],
)
def test_a_result_comes_back_from_the_index_as_it_was(
    runs: Runs, url: str | None, damage: Callable[[Path], None]
) -> None:
    for cell in ("a", "b"):
        add(runs, cell)
    runs.index(["a", "b"])
    before = result_file(runs, "a").read_bytes()
    damage(result_file(runs, "a"))
    other = again(runs, url)
    assert states(other) == {"a": "new", "b": "done"}, "looking changes nothing"
    assert other.refresh(["a", "b"])["a"].state == "done"
    assert result_file(runs, "a").read_bytes() == before
    assert other.heal() == []


def test_nothing_is_restored_while_somebody_works_on_the_cell(runs: Runs) -> None:
    add(runs, "a")
    runs.index(["a"])
    result_file(runs, "a").unlink()
    with runs.folder("a").lock():
        assert runs.refresh()["a"].state == "running"
        assert not result_file(runs, "a").exists()
    assert runs.heal() == ["a"]


def test_a_damaged_result_does_not_take_its_copy_along(runs: Runs) -> None:
    add(runs, "a")
    runs.index(["a"])
    result_file(runs, "a").write_text("")
    runs.index(["a"])
    assert states(runs) == {"a": "new"}
    runs.reindex()
    assert states(runs) == {"a": "done"}


def test_what_was_put_aside_or_deleted_does_not_come_back(runs: Runs) -> None:
    for cell in ("a", "b"):
        add(runs, cell)
    runs.index(["a", "b"])
    place = runs.supersede("a")
    assert (place / "result.json").exists()
    os.replace(runs.folder("b").path, runs.root / "elsewhere")
    assert runs.refresh(["a", "b"])["b"].state == "new"
    for cell in ("a", "b"):
        add(runs, cell, done=False)
    assert {cell: summary.state for cell, summary in runs.refresh().items()} == {"a": "new", "b": "new"}
    assert mtlbench.load(runs.root).empty


def test_summaries_follow_the_folders(runs: Runs, url: str | None) -> None:
    add(runs, "a")
    runs.refresh()
    summary = again(runs, url).summaries(["a", "missing"])
    assert summary["missing"].state == "new"
    assert (summary["a"].state, summary["a"].train_seconds, summary["a"].iterations) == ("done", 1, 40000)
    runs.folder("b").fail(Failure(kind="stuck", message="no sign"))
    add(runs, "b", done=False)
    found = runs.refresh()["b"]
    assert (found.state, found.failure_kind, found.failure_message) == ("failed", "stuck", "no sign")
    add(runs, "b", score=0.25)
    frame = mtlbench.load(runs.root, url)
    assert sorted(frame["value"]) == [0.25, 0.5], "what nobody indexed is seen"


def test_the_index_answers_where_a_folder_is_as_it_was(runs: Runs) -> None:
    add(runs, "a")
    runs.refresh()
    file = result_file(runs, "a")
    status = file.stat()
    file.write_bytes(b"x" * status.st_size)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert states(runs) == {"a": "done"}, "it was not read"
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert states(runs) == {"a": "new"}


def test_several_folders_of_runs_in_one_database(tmp_path: Path, server: PostgresServer) -> None:
    mine, other = Runs(tmp_path / "mine", server.url), Runs(tmp_path / "other", server.url)
    for runs, score in ((mine, 0.25), (other, 0.75)):
        add(runs, "a", score=score)
        runs.index(["a"])
    add(mine, "b")
    assert mine.reindex() == 2
    assert list(mtlbench.load(other.root, server.url)["value"]) == [0.75]
    os.replace(other.root, tmp_path / "moved")
    os.truncate(tmp_path / "moved" / "cells" / "a" / "result.json", 10)
    assert Runs(tmp_path / "moved", server.url).heal() == ["a"], "it is the same wherever it is mounted"


def test_two_that_know_a_folder_first_at_once(tmp_path: Path, server: PostgresServer) -> None:
    """Both look, both find nothing, both write it down."""
    runs, index = Runs(tmp_path, server.url), Index(server.url)
    looked, wrote = threading.Event(), threading.Event()

    def other(session: Session) -> None:
        session.add(RunsRecord(id=runs.id, path="other"))
        session.flush()
        looked.set()
        wrote.wait(0.5)  # ours waits in its insert for the end of this transaction

    with ThreadPoolExecutor() as threads:
        first = threads.submit(index.transact, other, write=True)
        assert looked.wait(TIMEOUT)
        second = threads.submit(runs.transact, lambda session: session.get(RunsRecord, runs.id), write=False)
        first.result(TIMEOUT)
        assert second.result(TIMEOUT).path == str(tmp_path)


def test_a_server_that_goes_and_comes_back(
    tmp_path: Path, server: PostgresServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "RETRY_SECONDS", 0)
    runs = Runs(tmp_path / "runs", server.url)
    add(runs, "a")
    runs.index(["a"])
    server.stop()
    try:
        for cell in ("b", "c"):
            add(runs, cell)
            runs.index([cell])
        assert caplog.text.count("cells run on, and are indexed later") == 1
        assert "bench@127.0.0.1" in caplog.text
        assert states(runs) == dict.fromkeys("abc", "done"), "the folders tell"
        assert sorted(runs.cells()) == ["a", "b", "c"], "reports do without the index"
        with pytest.raises(MtlbenchError, match=r"can't be used: .*refused"):
            runs.supersede("a")
        assert result_file(runs, "a").exists()
        assert runs.flush() == {"a", "b", "c"}
    finally:
        server.start()
    assert runs.flush() == set()
    with server.connect() as connection:
        query = "SELECT id FROM mtlbench2_cells WHERE runs = %s ORDER BY id"
        assert connection.execute(query, (runs.id,)).fetchall() == [("a",), ("b",), ("c",)]


def test_dropped_tables_are_made_anew(tmp_path: Path, server: PostgresServer) -> None:
    runs = Runs(tmp_path / "runs", server.url)
    add(runs, "a")
    runs.index(["a"])
    server.clear()
    assert list(runs.cells()) == ["a"]


def test_a_locked_index_is_written_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtlbench.index.BUSY_SECONDS", 0.1)
    runs = Runs(tmp_path)
    add(runs, "a", done=False)
    runs.index(["a"])
    other = sqlite3.connect(tmp_path / "index.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    runs.index(["a"])
    assert "database is locked" in caplog.text
    other.execute("COMMIT")
    other.close()
    assert runs.flush() == set()
    assert list(again(runs, None).cells()) == ["a"]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9], ids=str)
@pytest.mark.parametrize("how", ["cut", "overwritten"])
def test_a_damaged_index_is_built_anew(tmp_path: Path, share: float, how: str) -> None:
    runs = Runs(tmp_path)
    for number in range(30):
        add(runs, f"cell{number:02}", score=number)
    runs.refresh()
    expected = mtlbench.load(tmp_path)
    file = tmp_path / "index.db"
    size = file.stat().st_size
    if how == "cut":
        os.truncate(file, int(size * share))
    else:
        with file.open("r+b") as index:
            index.seek(int(size * share))
            index.write(b"\xa5" * 9000)
    for reader in (runs, Runs(tmp_path)):
        assert mtlbench.load(tmp_path).equals(expected)
        assert states(reader) == {f"cell{number:02}": "done" for number in range(30)}
    with sqlite3.connect(file) as index:
        assert index.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    index.close()


def test_a_damaged_index_still_gives_back_results(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    for number in range(30):
        add(runs, f"cell{number:02}")
    runs.refresh()
    for number in range(30):
        result_file(runs, f"cell{number:02}").write_text("{")
    with (tmp_path / "index.db").open("r+b") as index:
        index.seek(int((tmp_path / "index.db").stat().st_size * 0.8))
        index.write(b"\xa5" * 5000)
    found = list({cell: s.state for cell, s in Runs(tmp_path).refresh().items()}.values())
    assert found.count("done") >= 15


def test_changed_numbers_in_the_index_are_not_believed(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    add(runs, "a", score=0.25)
    runs.refresh()
    with sqlite3.connect(tmp_path / "index.db") as index:
        index.execute(
            "UPDATE mtlbench2_cells SET train_seconds = 7, result_json = replace(result_json, '0.25', '0.75')"
        )
    index.close()
    assert runs.summaries()["a"].train_seconds == 1
    assert list(mtlbench.load(tmp_path)["value"]) == [0.25]


def test_an_index_of_another_layout_is_left_alone(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    add(runs, "a")
    with sqlite3.connect(tmp_path / "index.db") as index:
        index.execute("CREATE TABLE cells (id TEXT PRIMARY KEY, state TEXT)")
    index.close()
    assert list(runs.cells()) == ["a"]


def test_a_damaged_grid_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runs = Runs(tmp_path)
    runs.save_grid("good", [{"role": "candidate"}])
    (tmp_path / "grids" / "bad.json").write_text('{"name"')
    assert runs.grids() == {"good": [{"role": "candidate"}]}
    assert "bad.json is damaged: running its grid again writes it anew" in caplog.text


@pytest.mark.parametrize("url", ["runs.db", "mysql://host/x", "postgres+nothing://host/x"])
def test_what_is_no_store(tmp_path: Path, url: str) -> None:
    with pytest.raises(MtlbenchError, match="the store must be sqlite:///FILE or postgresql"):
        Runs(tmp_path, url)


def test_passwords_are_not_shown(tmp_path: Path) -> None:
    runs = Runs(tmp_path, "postgresql+psycopg://user:secret@127.0.0.1:1/x")
    with pytest.raises(IndexUnavailable) as raised:
        runs.transact(lambda session: session.execute(text("SELECT 1")), write=False)
    assert "secret" not in str(raised.value)
    assert "user:***@127.0.0.1" in str(raised.value)


def test_two_that_start_at_once_agree_on_the_identity(tmp_path: Path) -> None:
    first, second = Runs(tmp_path), Runs(tmp_path)
    assert first.id == second.id
    (tmp_path / "identity").write_text("not one")
    assert Runs(tmp_path).id != first.id
    assert json.dumps(Runs(tmp_path).id)
