"""The renderer: determinism, and labels that agree with each other and with geometry."""

import hashlib

import numpy as np
import pytest
from mtlbench.datasets.rendering import Rendered, compose, render
from mtlbench.datasets.rendering.annotate import boundaries, salience
from mtlbench.datasets.rendering.vocabulary import CLASSES, PARTS, Semantic

NAMES = ("image", "semseg", "human_parts", "sal", "edge", "depth", "normals")


def test_same_key_same_scene(rooms: list[Rendered]) -> None:
    again = render(compose((0, 0, 3), 64 / 48), 48, 64)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(again, name), getattr(rooms[3], name))


def test_other_key_other_scene(rooms: list[Rendered]) -> None:
    for key in ((0, 0, 4), (0, 1, 3), (1, 0, 3)):
        other = render(compose(key, 64 / 48), 48, 64)
        assert (other.image != rooms[3].image).mean() > 0.5


def test_pinned_scene() -> None:
    """A change here changes every cached data set: raise `RENDERER` in rooms.py with it."""
    room = render(compose((0, 0, 0), 1.0), 16, 16)
    labels = b"".join(getattr(room, name).tobytes() for name in ("semseg", "human_parts", "sal", "edge"))
    assert hashlib.sha256(labels).hexdigest()[:16] == "cab39da8f19b9bbf"
    assert hashlib.sha256(room.image.tobytes()).hexdigest()[:16] == "32de11cbf5be2bef"


def test_types_and_ranges(rooms: list[Rendered]) -> None:
    for room in rooms:
        assert room.image.dtype == np.uint8
        assert room.image.std() > 10
        assert room.semseg.max() < len(CLASSES)
        assert set(np.unique(room.human_parts)) <= {*range(len(PARTS)), 255}
        assert set(np.unique(room.sal)) <= {0, 1}
        assert set(np.unique(room.edge)) <= {0, 1}
        assert room.depth.min() > 0.05
        assert room.depth.max() < 12


def test_normals_are_unit_and_face_the_camera(rooms: list[Rendered]) -> None:
    y, x = np.mgrid[:48, :64]
    for index, room in enumerate(rooms):
        np.testing.assert_allclose(np.linalg.norm(room.normals, axis=0), 1, atol=1e-5)
        camera = compose((0, 0, index), 64 / 48).camera
        ray = np.stack(
            [((2 * x + 1) / 64 - 1) * camera[12], (1 - (2 * y + 1) / 48) * camera[13], -np.ones_like(x)]
        )
        assert ((room.normals * ray).sum(0) < 1e-6).all()


def test_normals_agree_with_depth() -> None:
    """On one solid away from silhouettes, cross products of neighbouring points are the normals."""
    height, width = 96, 128
    for index in range(4):
        scene = compose((0, 0, index), width / height)
        room = render(scene, height, width)
        y, x = np.mgrid[:height, :width]
        ray = np.stack(
            [
                ((2 * x + 1) / width - 1) * scene.camera[12],
                (1 - (2 * y + 1) / height) * scene.camera[13],
                -np.ones_like(x),
            ]
        )
        points = ray * room.depth.astype(np.float64)
        across, down = points[:, 1:-1, 2:] - points[:, 1:-1, :-2], points[:, 2:, 1:-1] - points[:, :-2, 1:-1]
        estimate = np.cross(down, across, axis=0)
        estimate /= np.linalg.norm(estimate, axis=0)
        cosine = (estimate * room.normals[:, 1:-1, 1:-1]).sum(0)
        flat = room.solids[1:-1, 1:-1] < 0
        for moved in (
            room.solids[1:-1, 2:],
            room.solids[1:-1, :-2],
            room.solids[2:, 1:-1],
            room.solids[:-2, 1:-1],
        ):
            flat &= moved == room.solids[1:-1, 1:-1]
        assert flat.mean() > 0.2
        assert cosine[flat].min() > 0.999


def test_parts_only_on_persons(rooms: list[Rendered]) -> None:
    seen = 0
    for room in rooms:
        person = room.semseg == Semantic.PERSON
        if person.any():
            np.testing.assert_array_equal(room.human_parts > 0, person)
            seen += 1
        else:
            assert (room.human_parts == 255).all()
    assert 0 < seen < len(rooms)


def test_persons_are_salient(rooms: list[Rendered]) -> None:
    for room in rooms:
        assert room.sal[room.semseg == Semantic.PERSON].all()
        assert not room.sal[room.instances < 6].any()


def test_instances_have_one_class(rooms: list[Rendered]) -> None:
    for room in rooms:
        for instance in np.unique(room.instances):
            assert len(np.unique(room.semseg[room.instances == instance])) == 1


def test_boundaries_mark_the_nearer_side() -> None:
    instances = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 3, 3]])
    depth = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [2.0, 2, 1, 1]])
    expected = [[0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]]
    np.testing.assert_array_equal(boundaries(instances, depth), expected)


def test_boundaries_separate_instances(rooms: list[Rendered]) -> None:
    for room in rooms:
        differ = room.instances[:, 1:] != room.instances[:, :-1]
        assert (room.edge[:, 1:] | room.edge[:, :-1])[differ].all()
        assert 0.01 < room.edge.mean() < 0.4


def test_salience_takes_the_most_central_object() -> None:
    semantics = np.array([0] * 6 + [Semantic.TABLE, Semantic.CHAIR])
    instances = np.zeros((8, 8), dtype=np.uint8)
    instances[:, :2] = 6
    instances[3:5, 3:6] = 7
    np.testing.assert_array_equal(salience(instances, semantics), instances == 7)


def test_salience_of_an_empty_room_is_empty() -> None:
    assert not salience(np.zeros((4, 4), dtype=np.uint8), np.array([0] * 6)).any()


@pytest.mark.parametrize("size", [(16, 16), (33, 47), (64, 32)])
def test_any_size(size: tuple[int, int]) -> None:
    room = render(compose((5, 1, 2), size[1] / size[0]), *size)
    assert room.image.shape == (3, *size)
    assert np.isfinite(room.depth).all()
    assert np.isfinite(room.normals).all()


def test_all_classes_and_parts_occur() -> None:
    classes, parts = set(), set()
    for index in range(40):
        room = render(compose((7, 0, index), 4 / 3), 24, 32)
        classes |= set(np.unique(room.semseg))
        parts |= set(np.unique(room.human_parts))
    assert classes == set(range(len(CLASSES)))
    assert parts >= set(range(len(PARTS)))
