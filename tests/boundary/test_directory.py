"""`mtlbench score-boundaries`: its numbers, and what it says of wrong input."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from typer.testing import CliRunner

from mtlbench.boundary.counts import count_image
from mtlbench.boundary.directory import pair_files, score_pairs
from mtlbench.boundary.protocols import PROTOCOLS
from mtlbench.boundary.scores import best_counts, scores
from mtlbench.boundary.truth import true_boundaries
from mtlbench.cli import app
from mtlbench.errors import DataError, MtlbenchError

Folders = tuple[Path, Path]


def images(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and labels (40, 56), uint8."""
    generator = np.random.default_rng(seed)
    labels = np.kron(generator.integers(0, 4, (5, 7)), np.ones((8, 8), int)).astype(np.uint8)
    noise = generator.integers(0, 90, labels.shape)
    return (true_boundaries(labels, "labels") * 160 + noise).astype(np.uint8), labels


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Three images: predictions as .png, labels as .png."""
    for name in ("pred", "gt"):
        (tmp_path / name).mkdir()
    for seed in range(3):
        prediction, labels = images(seed)
        Image.fromarray(prediction).save(tmp_path / "pred" / f"{seed}.png")
        Image.fromarray(labels).save(tmp_path / "gt" / f"{seed}.png")
    return tmp_path / "pred", tmp_path / "gt"


@pytest.mark.parametrize("name", ["edge.seism.pascal", "edge.mti.pascal"])
@pytest.mark.parametrize("jobs", [1, 3])
def test_scores_are_sums_over_images(folders: Folders, name: str, jobs: int) -> None:
    protocol = PROTOCOLS[name]
    counts = [
        count_image(prediction, true_boundaries(labels, "labels"), protocol)
        for prediction, labels in map(images, range(3))
    ]
    expected = scores(sum(counts[1:], counts[0]), sum(map(best_counts, counts), np.zeros(4, np.int64)), 3)
    found = score_pairs(pair_files(*folders), protocol, jobs=jobs)
    assert (found.ods, found.ois, found.ap) == (expected.ods, expected.ois, expected.ap)


def test_file_formats_give_the_same_scores(folders: Folders) -> None:
    predictions, truths = folders
    expected = score_pairs(pair_files(*folders), PROTOCOLS["edge.seism.pascal"])
    for seed in range(3):
        prediction, labels = images(seed)
        (predictions / f"{seed}.png").unlink()
        (truths / f"{seed}.png").unlink()
        np.save(predictions / f"{seed}.npy", (prediction[None] + np.float32(0.5)) / np.float32(255))
        if seed == 0:
            savemat(truths / "0.mat", {"LabelMap": labels.astype(np.uint16) + 300}, do_compression=True)
        elif seed == 1:
            Image.fromarray(labels.astype(np.uint16) + 300).save(truths / "1.png")
        else:
            np.save(truths / "2.npy", labels.astype(np.int32))
    found = score_pairs(pair_files(*folders), PROTOCOLS["edge.seism.pascal"])
    assert (found.ods, found.ois, found.ap) == (expected.ods, expected.ois, expected.ap)


@pytest.mark.parametrize("kind", ["edges", "boundaries"])
@pytest.mark.parametrize("ones", [255, 1])
def test_edges_as_pictures_and_arrays(folders: Folders, kind: str, ones: int) -> None:
    found = []
    for suffix in (".png", ".npy"):
        for seed in range(3):
            edges = true_boundaries(images(seed)[1], "labels").astype(np.uint8)
            for path in folders[1].glob(f"{seed}.*"):
                path.unlink()
            if suffix == ".png":
                Image.fromarray(edges * np.uint8(ones)).save(folders[1] / f"{seed}.png")
            else:
                np.save(folders[1] / f"{seed}.npy", edges.astype(np.float32))
        found.append(run_scores(folders, "--truth", kind))
    assert found[0] == found[1]


def run_scores(folders: Folders, *options: str) -> list[str]:
    """Lines with the three scores."""
    plot = ("--plot", str(folders[0].parent / "curve.png"))
    result = CliRunner().invoke(app, ["score-boundaries", *map(str, folders), *plot, *options])
    assert result.exit_code == 0, result.output
    return [line for line in result.output.splitlines() if line.split()[:1] in (["odsF"], ["oisF"], ["AP"])]


def test_the_command_prints_scores_and_draws_a_curve(folders: Folders) -> None:
    plot = folders[0].parent / "curve.png"
    arguments = [
        "score-boundaries",
        *map(str, folders),
        "--protocol",
        "edge.seism.pascal",
        "--plot",
        str(plot),
    ]
    result = CliRunner().invoke(app, [*arguments, "--max-dist", "0.02", "--thresholds", "9"])
    assert result.exit_code == 0, result.output
    for text in ("odsF", "oisF", "AP", "edge.seism.pascal with max_dist 0.02, thresholds 9", "3 images"):
        assert text in result.output
    with Image.open(plot) as image:
        assert min(image.size) > 800


def test_a_file_names_the_images_to_score(folders: Folders) -> None:
    ids = folders[0].parent / "ids.txt"
    ids.write_text("0\n2\n")
    (folders[1] / "1.png").unlink()
    assert [pair.truth.stem for pair in pair_files(*folders, ids)] == ["0", "2"]


def test_a_missing_folder(folders: Folders) -> None:
    with pytest.raises(DataError, match="nowhere is required, but is not there"):
        pair_files(folders[0], folders[1] / "nowhere")


def test_an_empty_folder(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found none"):
        pair_files(tmp_path / "empty", folders[1])


@pytest.mark.parametrize(("side", "message"), [(0, "1 of 3 predictions"), (1, "1 of 3 ground truths")])
def test_missing_partners_are_named(folders: Folders, side: int, message: str) -> None:
    (folders[side] / "1.png").unlink()
    with pytest.raises(DataError, match=message + ".*missing: 1$"):
        pair_files(*folders)


def test_two_files_for_one_image(folders: Folders) -> None:
    np.save(folders[0] / "1.npy", np.zeros((40, 56)))
    with pytest.raises(DataError, match=r"one file for 1, found 1\.npy and 1\.png"):
        pair_files(*folders)


@pytest.mark.parametrize("content", [b"PK\x03\x04junk", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', "])
def test_a_file_that_is_no_array(folders: Folders, content: bytes) -> None:
    (folders[0] / "1.png").unlink()
    (folders[0] / "1.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"1\.npy must be a \.npy file"):
        pair_files(*folders)


def test_sizes_that_differ(folders: Folders) -> None:
    Image.fromarray(np.zeros((40, 57), np.uint8)).save(folders[0] / "2.png")
    with pytest.raises(DataError, match=r"2\.png.*40x56.*found 40x57"):
        pair_files(*folders)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((40, 56, 3), np.uint8), "8-bit grey PNG, found mode RGB"),
        (np.zeros((40, 56), np.uint16), "8-bit grey PNG, found mode I"),
    ],
)
def test_predictions_of_the_wrong_type(folders: Folders, array: np.ndarray, message: str) -> None:
    Image.fromarray(array).save(folders[0] / "2.png")
    with pytest.raises(DataError, match=message):
        pair_files(*folders)


@pytest.mark.parametrize("array", [np.zeros((40, 56), np.int64), np.zeros(40), np.zeros((40, 56), np.uint16)])
def test_arrays_of_the_wrong_type(folders: Folders, array: np.ndarray) -> None:
    (folders[0] / "2.png").unlink()
    np.save(folders[0] / "2.npy", array)
    with pytest.raises(DataError, match=r"2\.npy must hold strengths"):
        pair_files(*folders)


@pytest.mark.parametrize("value", [-0.1, 1.5, np.nan])
def test_strengths_out_of_range(folders: Folders, value: float) -> None:
    (folders[0] / "2.png").unlink()
    np.save(folders[0] / "2.npy", np.full((40, 56), value))
    with pytest.raises(DataError, match=r"2\.npy must hold strengths in \[0, 1\]"):
        score_pairs(pair_files(*folders), PROTOCOLS["edge.bsds"])


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("length", [0, 30, -30])
def test_files_that_are_cut_off(folders: Folders, side: int, length: int) -> None:
    path = folders[side] / "1.png"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=r"1\.png must be .*can't be read"):
        pair_files(*folders)


def test_a_mat_file_without_labels(folders: Folders) -> None:
    (folders[1] / "1.png").unlink()
    savemat(folders[1] / "1.mat", {"Labels": np.zeros((40, 56))})
    with pytest.raises(DataError, match=r"1\.mat must be .*LabelMap.*found Labels"):
        pair_files(*folders)
    (folders[1] / "1.mat").write_bytes(b"no mat file at all" * 20)
    with pytest.raises(DataError, match=r"1\.mat must be .*can't be read"):
        pair_files(*folders)


@pytest.mark.parametrize(
    "options",
    [
        ("--protocol", "edge.seism"),
        ("--max-dist", "2"),
        ("--thresholds", "0"),
        ("--jobs", "0"),
        ("--plot", "nowhere/curve.png"),
        ("--plot", "curve.txt"),
    ],
)
def test_options_that_make_no_sense(folders: Folders, options: tuple[str, str]) -> None:
    result = CliRunner().invoke(app, ["score-boundaries", *map(str, folders), *options])
    assert isinstance(result.exception, MtlbenchError)
