"""Other exports of the same photograph, as training sees them."""

from __future__ import annotations

import numpy as np
import pytest

from lesions import exports
from lesions.data.sources.sample import draw_lesion
from lesions.training.augmentation import Augmentation

LESION = np.asarray(draw_lesion("mel", seed=1, view=0).resize((96, 96)))
STEPS = ("_dark_corners", "_resample", "_blur", "_sharpen", "_recolor", "_noise", "_compress")


@pytest.mark.parametrize("step", STEPS)
def test_each_step_changes_the_image_and_leaves_the_lesion_recognizable(step: str) -> None:
    middle = (slice(24, 72), slice(24, 72))  # what dark corners leave alone
    drawn = [getattr(exports, step)(LESION, np.random.default_rng(seed)) for seed in range(20)]
    for changed in drawn:
        assert changed.shape == LESION.shape and changed.dtype == np.uint8
        assert np.corrcoef(*(one[middle].mean(axis=2).ravel() for one in (LESION, changed)))[0, 1] > 0.8
    assert sum(not np.array_equal(changed, LESION) for changed in drawn) > 10  # the mildest blur changes nothing


def test_an_export_depends_on_its_random_numbers_alone() -> None:
    before = LESION.copy()
    first, again, other = (exports.export_again(LESION, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first, again) and not np.array_equal(first, other) and np.array_equal(LESION, before)


def test_compression_keeps_the_order_of_the_channels() -> None:
    red = np.zeros((32, 32, 3), np.uint8) + np.array([200, 40, 20], np.uint8)
    compressed = exports._compress(red, np.random.default_rng(0))
    assert np.abs(compressed.astype(int) - red).max() < 12


def test_the_share_decides_how_many_images_become_another_export() -> None:
    levels = np.repeat(np.linspace(-1, 1, 256, dtype=np.float32)[:, None], 3, axis=1)

    def drawn(share: float) -> list[np.ndarray]:
        augmentation = Augmentation(seed=1, exports=share)
        return [augmentation.draw(LESION, levels, epoch=0, row=row) for row in range(40)]

    never, also_never = drawn(0), [Augmentation(1).draw(LESION, levels, 0, row) for row in range(40)]
    assert all(map(np.array_equal, never, also_never))
    assert not any(map(np.array_equal, drawn(1), never))
