"""Tables of papers: number for number as they were copied, and what each of their numbers means."""

import csv
from pathlib import Path

import pytest

from mtlbench import catalogue
from mtlbench.errors import MtlbenchError
from mtlbench.naming import same_name
from mtlbench.published_numbers import (
    DELTA_M,
    FOLDER,
    PublishedRow,
    chosen_tables,
    find_published,
    published_names,
    published_tables,
    read_published,
    table_of,
)
from mtlbench.registry import registry

GOLDEN = sorted((Path(__file__).parent.parent / "golden" / "published").glob("*.csv"))
RENAMED = {
    "table": "part",
    "trainable_params_m": "trainable_m",
    "single_inference_for_all_tasks": "single_inference",
    "gate_depth": "setting",
}
UNITS = {
    "percent": ("share", 100.0),
    "m": ("label", 1.0),
    "deg": ("degrees", 1.0),
    "disparity": ("label", 1.0),
}
TABLES = sorted(published_tables())


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_every_number_is_as_copied(golden: Path) -> None:
    copied, ours = lines(golden), lines(Path(str(FOLDER / golden.name)))
    assert len(copied) == len(ours)
    for column in copied[0]:
        known = RENAMED.get(column, column)
        (name,) = (c for c in ours[0] if c == known or c.rpartition("_")[0] == known)
        if column == "model" and "setting" in ours[0]:
            continue  # our name for a row that prints options alone
        assert [line[name] for line in ours] == [line[column] for line in copied], column


def test_all_of_the_papers_tables_are_copied() -> None:
    assert [path.stem for path in GOLDEN] == [name for name in TABLES if name.startswith("degmix")]
    assert len(GOLDEN) == 7


@pytest.mark.parametrize("name", TABLES)
def test_every_metric_is_a_known_variant_in_a_known_unit(name: str) -> None:
    table, rows = published_tables()[name], read_published(name)
    assert {*rows[0].metrics} - {DELTA_M} == {*table.metrics}
    tasks = {task for dataset in table.datasets for task in registry.load("dataset", dataset).tasks}
    for row in rows:
        for column in table.metrics:
            (task,) = (task for task in tasks if column.startswith(f"{task}_"))
            if row.variants[column].startswith("?"):
                assert row.remark or row.source, row.model
                continue
            variant = catalogue.find(task, row.variants[column])
            assert (variant.unit, variant.scale) == UNITS[column.rpartition("_")[2]]
    assert {column for row in rows for column in row.variants} == {*table.metrics}


@pytest.mark.parametrize("name", TABLES)
def test_rows_can_be_told_apart(name: str) -> None:
    rows = read_published(name)
    assert len({(row.name, row.model, row.backbone) for row in rows}) == len(rows)


def test_variants_are_those_of_the_data_sets() -> None:
    """What data sets say of a paper's table is what the table's columns say."""
    for dataset, said, name in (
        ("nyud", "DeGMix Table I", "degmix_table1_nyud"),
        ("pascal_context", "DeGMix Table II", "degmix_table2_pascal"),
        ("cityscapes_mtan", "DeGMix Table III", "degmix_table3_cityscapes"),
        ("pascal_context", "DeGMix Table VII", "degmix_table7_tuning_pascal"),
    ):
        expected = registry.load("dataset", dataset).published[said]
        assert {*published_tables()[name].metrics.values()} == {*expected.values()}


def test_what_is_not_the_papers_own_number_is_marked() -> None:
    for name in ("transformer_family_nyud", "transformer_family_pascal"):
        rows = read_published(name)
        assert all(row.source for row in rows)
        cited = [row for row in rows if row.source.startswith("PRISM") and "PRISM" not in row.model]
        assert cited
        assert all("third-party" in row.remark for row in cited)
        assert any("recollected, not checked" in row.remark for row in rows if row.model == "MTMamba")
    mtformer = find_published(read_published("degmix_table2_pascal"), "MTFormer", ["Swin"])
    assert mtformer is not None
    assert mtformer.variants["sal_maxf_percent"] == "?mIoU"
    assert "mIoU" in mtformer.remark


def test_a_row() -> None:
    rows = read_published("degmix_table1_nyud")
    assert rows[1] == PublishedRow(
        model="multi-task baseline",
        backbone="HRNet18",
        params_m=4.52,
        gflops=17.59,
        counted_at=(425, 560),
        metrics={
            "semseg_miou_percent": 36.35,
            "depth_rmse_m": 0.6284,
            "normals_mean_deg": 21.02,
            "edge_odsf_percent": 76.36,
            "delta_m_percent": -1.89,
        },
    )
    dashes = find_published(rows, "MTFormer", ["Swin"])
    assert dashes is not None
    assert dashes.counted_at is None
    assert dashes.metrics["normals_mean_deg"] is None
    assert dashes.scored() == {"semseg_miou_percent", "depth_rmse_m"}
    assert "two tasks" in dashes.remark


def test_a_table_without_costs() -> None:
    row = read_published("degmix_table2_pascal")[0]
    assert row.params_m is row.gflops is row.counted_at is None
    assert row.metrics["sal_maxf_percent"] == 85.08


def test_rows_are_found_by_label_or_name() -> None:
    rows = read_published("degmix_table1_nyud")
    for backbones in (["Swin-T"], ["swin-t"], ["my network", "swin-t"]):
        for model in ("DeMT", "demt"):
            found = find_published(rows, model, backbones)
            assert found is not None
            assert found.params_m == 32.07
    assert find_published(rows, "DeMT", ["swin-l"]) is None
    two_tasks = find_published(rows, "DeGMix (2-task) (paper)", ["swin-s"])
    assert two_tasks is not None
    assert two_tasks.params_m == 52.16


@pytest.mark.parametrize(
    ("ours", "printed"),
    [
        ("multi_task", "multi-task baseline"),
        ("single_task", "single task"),
        ("single task baseline", "single task"),
        ("degmix", "DeGMix (paper)"),
        ("pad_net", "Pad-Net"),
        ("vit-b", "ViT-B"),
    ],
)
def test_names_that_mean_the_same(ours: str, printed: str) -> None:
    assert same_name(ours, printed)


@pytest.mark.parametrize(
    ("ours", "printed"), [("degmix", "DeGMix (2-task) (paper)"), ("vit-b", "vit-b-384"), ("InvPT", "InvPT++")]
)
def test_names_that_do_not(ours: str, printed: str) -> None:
    assert not same_name(ours, printed)


def test_rows_of_experiments() -> None:
    rows = read_published("degmix_table4_protocols")
    found = find_published(rows, "DeGMix", ["swin-t"], "1.2")
    assert found is not None
    assert found.metrics["semseg_miou_percent"] == 47.07
    assert found.printed["normals_mean_deg"] == "20.00"
    assert found.metrics["edge_odsf_percent"] is None
    assert find_published(rows, "DeGMix", ["swin-t"]) is None
    assert [row.experiment for row in rows if "need not reproduce" in row.remark] == ["3.2", "3.3", "3.4"]


def test_parts_of_a_table() -> None:
    rows = read_published("degmix_table5_ablations.5d_backbones")
    assert [row.model for row in rows] == ["baseline", "DeGMix", "baseline", "InvPT++", "DeGMix"]
    assert table_of("degmix_table5_ablations.5d_backbones").part == "Table V"


def test_tables_of_a_data_set() -> None:
    assert chosen_tables(["auto"], ["pascal_context"], "comparison") == [
        "degmix_table2_pascal", "transformer_family_pascal",
    ]  # fmt: skip
    assert chosen_tables(["auto"], ["nyud"], "protocols") == ["degmix_table4_protocols"]
    assert chosen_tables(["auto"], ["rooms"], "comparison") == []
    assert chosen_tables(["degmix_table1_nyud", "auto"], ["rooms"], "tuning") == ["degmix_table1_nyud"]


def test_an_unknown_table() -> None:
    with pytest.raises(MtlbenchError, match=r"unknown published table `degmix_table1`: did you mean"):
        read_published("degmix_table1")
    assert "degmix_table7_tuning_pascal" in published_names()
