"""How fast boundaries are scored: seconds an image on one core, beside scipy and the published evaluator.

Run: OMP_NUM_THREADS=1 python benchmarks/boundary.py [--golden FOLDER] [--images 5]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import KDTree

from mtlbench.boundary.counts import count_matches
from mtlbench.boundary.nms import suppress
from mtlbench.boundary.protocols import HED, even_thresholds
from mtlbench.boundary.thinning import thin
from mtlbench.boundary.truth import true_boundaries


def synthetic(height: int, width: int, seed: int, *, segment: float = 50) -> tuple[np.ndarray, np.ndarray]:
    """A truth (H, W) bool and a prediction (H, W) uint8 of it.

    The truth outlines a Voronoi diagram in warped coordinates, with a cell for each `segment`^2 pixels. The
    prediction shows it displaced, blurred and with a strength that varies, and adds false edges and noise.
    """
    generator = np.random.default_rng(seed)

    def field(scale: float) -> np.ndarray:
        noise = gaussian_filter(generator.standard_normal((height, width)), scale)
        return noise / noise.std()

    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij")).astype(float)

    def cells(count: int) -> np.ndarray:
        centres = generator.random((count, 2)) * (height, width)
        warped = grid + 5 * np.stack([field(12), field(12)])
        return KDTree(centres).query(warped.reshape(2, -1).T)[1].reshape(height, width)

    count = int(height * width / segment**2)
    labels = cells(count)
    truth = true_boundaries(labels, "labels")
    moved = map_coordinates(truth.astype(float), grid + 1.5 * np.stack([field(8), field(8)]), order=1)
    false = true_boundaries(cells(count // 2), "labels").astype(float)
    strength = 2.2 * gaussian_filter(moved, 1.2) * (0.65 + 0.25 * field(20)).clip(0.1, 1.2)
    strength += 1.2 * gaussian_filter(false, 1.2) * (0.25 + 0.2 * field(20)).clip(0, 0.8)
    strength += 0.12 * np.abs(gaussian_filter(generator.standard_normal((height, width)), 1))
    return truth, (255 * strength.clip(0, 1)).astype(np.uint8)


def seconds(work: Callable[[], object], least: float = 1.0) -> float:
    """Processor seconds of one call: the least of those that fit into `least` seconds, three at the least."""
    spent: list[float] = []
    while len(spent) < 3 or sum(spent) < least:
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


def first_use() -> None:
    """Time the first image of a process, with an empty and with a filled cache of compiled kernels."""
    code = (
        "import time, numpy as np; from mtlbench.boundary.protocols import find_protocol\n"
        "start = time.perf_counter()\n"
        "from mtlbench.boundary.counts import count_image\n"
        "from mtlbench.boundary.truth import true_boundaries\n"
        "image = np.zeros((40, 40), np.uint8)\n"
        "count_image(image, true_boundaries(image, 'edges'), find_protocol('edge.seism.nyud'))\n"
        "print(time.perf_counter() - start)"
    )
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        for state in ("compiled", "from the cache"):
            run = [sys.executable, "-c", code]
            done = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
            print(f"first use, kernels {state}: {float(done.stdout):.1f} s")


def by_scipy(strength: np.ndarray, truth: np.ndarray, max_dist: float, threshold: float) -> int:
    """What users can install instead: pairs from a KD-tree, and Hopcroft and Karp's matching."""
    predicted = np.argwhere(thin(strength.astype(np.float64) > threshold))
    true = np.argwhere(truth)
    if not len(predicted):
        return 0
    tree, radius = KDTree(true), max_dist * np.hypot(*truth.shape)
    pairs = KDTree(predicted).sparse_distance_matrix(tree, radius, output_type="coo_matrix")
    graph = csr_matrix((np.ones(pairs.nnz), (pairs.row, pairs.col)), shape=pairs.shape)
    return int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())


def sizes(images: int) -> None:
    """Time images of both published sizes, raw and after suppression, and check some counts by scipy."""
    for height, width, max_dist in ((321, 481, 0.0075), (425, 560, 0.011)):
        made = [synthetic(height, width, seed) for seed in range(images)]
        pairs = [(truth, prediction.astype(np.float32) / np.float32(255)) for truth, prediction in made]
        true = np.mean([truth.sum() for truth, _ in pairs])
        nms = np.mean([seconds(partial(suppress, strength)) for _, strength in pairs])
        print(f"{height}x{width}, maxDist {max_dist}: {true:.0f} true pixels; suppression {nms:.4f} s")
        for name in ("after NMS", "raw"):
            inputs = [(suppress(s) if name == "after NMS" else s, truth) for truth, s in pairs]
            count = partial(count_matches, thresholds=HED, max_dist=max_dist, strict=True)
            ours = np.mean([seconds(partial(count, s, truth)) for s, truth in inputs])
            strength, truth = inputs[0]
            counts = count(strength, truth)
            start = time.process_time()
            sample = range(30, len(HED), 20)  # from 0.2 downwards it takes minutes
            sizes = [by_scipy(strength, truth, max_dist, HED[k]) for k in sample]
            scipy = (time.process_time() - start) * len(HED) / len(sample)
            assert sizes == counts[sample, 0].tolist(), "scipy must find the same matchings"
            print(
                f"  {name}: {ours:.4f} s an image, 101 thresholds; scipy > {scipy:.1f} s (extrapolated"
                f" from {len(sample)} thresholds >= 0.3, same matchings; {scipy / ours:.0f}x)"
            )


def golden(file: Path) -> None:
    """How far the stored counts of the published evaluator (three runs) are from the maximum matchings."""
    arrays = np.load(file.with_suffix(".npz"))
    for name, spec in json.loads(file.read_text())["configs"].items():
        below = above = differ = 0
        for image in range(len(json.loads(file.read_text())["images"])):
            edges, config = "nyud" in name, {"max_dist": spec["max_dist"], "strict": spec["strict_greater"]}
            truth = true_boundaries(
                arrays[f"{'edge_png' if edges else 'labelmap'}_{image}"], "edges" if edges else "labels"
            )
            strength = arrays[f"pred_u8_{image}"] / 255
            if "_nms_" in name:
                strength = suppress(arrays[f"pred_u8_{image}"].astype(np.float32) / np.float32(255))
            thresholds = HED if spec["strict_greater"] else even_thresholds(spec["thresholds"])
            ours = count_matches(strength, truth, thresholds=thresholds, **config)
            exact = arrays[f"{name}__exact_{image}"].T
            below = max(below, int((ours[:, 0] - arrays[f"{name}__ref_cntR_min_{image}"]).max()))
            above = max(above, int((arrays[f"{name}__ref_cntR_max_{image}"] - ours[:, 0]).max()))
            differ += int((ours != exact).sum())
        print(
            f"golden {name}: {differ} counts differ from the exact ones; the published ones have up to"
            f" {below} pairs fewer, {above} more (thinning)"
        )


def main() -> None:
    """Print all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--golden", type=Path, default=Path("tests/golden/metrics"))
    parser.add_argument("--images", type=int, default=5)
    arguments = parser.parse_args()
    first_use()
    sizes(arguments.images)
    for file in sorted(arguments.golden.glob("boundary*.json")):
        golden(file)


if __name__ == "__main__":
    main()
