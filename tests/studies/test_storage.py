"""Where studies are kept, and how one that was lost comes back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest
from study_bench import StudyBench

from mtlbench.errors import MtlbenchError
from mtlbench.registry import Registry
from mtlbench.studies.storage import open_storage

if TYPE_CHECKING:
    from postgres_server import PostgresServer


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtlbench.studies.worker.OTHERS_SECONDS", 0)


def test_by_default_studies_are_in_a_file_beside_the_index(tmp_path: Path) -> None:
    storage = open_storage(None, tmp_path / "runs", None)
    assert storage.place == str(tmp_path / "runs" / "studies" / "optuna.log")


def test_a_store_that_is_a_server_holds_studies(server: PostgresServer, tmp_path: Path) -> None:
    storage = open_storage(None, tmp_path, server.url)
    assert isinstance(storage.optuna, optuna.storages.RDBStorage)
    assert storage.place == server.url


@pytest.mark.parametrize(
    "kind", ["redis", "sqlite:////proc/nowhere/studies.db", "postgresql+psycopg://x:y@127.0.0.1:1/z"]
)
def test_what_can_not_hold_studies_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(MtlbenchError, match=r"must be store, journal or the URL|can't be kept in") as refused:
        open_storage(kind, tmp_path, None)
    assert "x:y@" not in str(refused.value), "no password in messages"


def test_studies_of_several_folders_share_a_database(
    url: str | None, tmp_path: Path, tiny_registry: Registry
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    shared = url or f"sqlite:///{tmp_path / 'shared.db'}"
    for name in ("one", "two"):
        study, _, executor = StudyBench(tmp_path / name, tiny_registry, url=shared).work(3, storage="store")
        assert [trial.state for trial in study.record.trials] == ["complete"] * 3
        assert len(executor.started) == 3 + 2, "nothing of the other folder"


@pytest.mark.parametrize("storage", ["journal", "store"])
def test_a_study_that_its_storage_has_lost_is_put_back(
    storage: str, tmp_path: Path, tiny_registry: Registry
) -> None:
    bench = StudyBench(tmp_path, tiny_registry, pruner="median", sampler="random", evaluate_every=2)
    before, _, _ = bench.work(10, storage=storage)
    assert {trial.state for trial in before.record.trials} == {"complete", "pruned"}
    for file in (bench.runs.root / "index.db", bench.runs.root / "studies" / "optuna.log"):
        file.unlink(missing_ok=True)
    after, _, executor = bench.work(12, storage=storage)
    assert after.record.trials[:10] == before.record.trials
    assert len(after.record.trials) == 12
    assert len(executor.started) == 2


def test_a_trial_that_was_at_work_when_its_storage_was_lost_begins_again(
    tmp_path: Path, tiny_registry: Registry
) -> None:
    bench = StudyBench(tmp_path, tiny_registry)
    bench.work(3)
    left = bench.study(4).propose({})
    assert left is not None
    (bench.runs.root / "studies" / "optuna.log").unlink()
    study, _, executor = bench.work(4)
    assert study.record.trials[3].parameters == left.trial.params
    assert [cell.id for cell in executor.started] == [cell.id for cell in left.all_cells]


def test_a_line_that_was_cut_off_costs_only_itself(tmp_path: Path, tiny_registry: Registry) -> None:
    bench = StudyBench(tmp_path, tiny_registry)
    before, _, _ = bench.work(3)
    with (bench.runs.root / "studies" / "optuna.log").open("ab") as journal:
        journal.write(b'{"op_code": 4, "worker')
    after, _, executor = bench.work(4)
    assert after.record.trials[:3] == before.record.trials
    assert len(executor.started) == 1


def test_a_damaged_file_is_set_aside_and_studies_are_put_back(
    tmp_path: Path, tiny_registry: Registry
) -> None:
    bench = StudyBench(tmp_path, tiny_registry)
    before, _, _ = bench.work(3)
    journal = bench.runs.root / "studies" / "optuna.log"
    journal.write_bytes(b"\0" * 100 + b"\n" + journal.read_bytes())
    after, _, executor = bench.work(3)
    assert after.record.trials == before.record.trials
    assert not executor.started
    assert journal.with_name("damaged-optuna.log").exists()


def test_begun_anew_a_study_uses_the_cells_that_are_there(tmp_path: Path, tiny_registry: Registry) -> None:
    bench = StudyBench(tmp_path, tiny_registry)
    before, _, _ = bench.work(4)
    after, _, executor = bench.work(2, fresh=True)
    assert after.record.trials == before.record.trials[:2]
    assert not executor.started
    assert list((bench.runs.root / "superseded").glob("study-*/*.json"))
