"""Images that show one lesion under two lesion ids, found by content.

    python -m lesions.data.duplicates /path/to/ham10000 --pairs pairs.csv --sheet pairs.png

Two round brown spots look alike to any embedding; the same skin has the same fine marks in the same places. So a
pair counts when enough matched keypoints (SIFT) agree on one affine transform and, where they are few, when the two
images laid over each other that way are the same image. Candidates come from votes of keypoints that are each
other's nearest within a word of a vocabulary (after Sivic and Zisserman, "Video Google", ICCV 2003, and Jegou et al.,
"Hamming embedding", ECCV 2008), which needs no pretrained model.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesions.data.duplicates.candidates import find_candidates
from lesions.data.duplicates.keypoints import find_keypoints
from lesions.data.duplicates.verification import score_pairs


def find_pairs(table: pd.DataFrame, processes: int, asked: pd.Series | None = None) -> pd.DataFrame:
    """Pairs of images of different lesions that show the same skin: columns image_id, other_image_id, score.

    `table` has the columns image_id, lesion_id, dx and path. The score is the number of places at which matched
    keypoints agree on one affine transform; 0 for equal images, where smooth skin has too few keypoints. With `asked`,
    a mask of the rows, only pairs that hold at least one of these are sought. Raises InputError that names every image
    that can't be decoded.
    """
    keypoints = find_keypoints(list(table["path"]), processes)
    mask = np.ones(len(table), bool) if asked is None else asked.to_numpy()
    candidates = find_candidates(keypoints, table["lesion_id"].to_numpy(), mask)
    ids = table["image_id"].to_numpy()
    pairs = pd.DataFrame({"image_id": ids[candidates[:, 0]], "other_image_id": ids[candidates[:, 1]]})
    pairs["score"] = score_pairs(keypoints, candidates, processes)
    pairs = pairs[pairs["score"] > 0].sort_values("score", ascending=False, kind="stable")
    pairs = pd.concat([pairs, _equal_images(table, keypoints.contents, mask)])
    return pairs.drop_duplicates(["image_id", "other_image_id"], ignore_index=True)


def _equal_images(table: pd.DataFrame, contents: list[bytes], asked: NDArray[np.bool_]) -> pd.DataFrame:
    """Pairs with the score 0: each image beside the next one that equals it in every pixel. Those of one diagnosis
    follow each other, so that such pairs connect all of these."""
    ids, lesions, diagnoses = (list(table[name]) for name in ("image_id", "lesion_id", "dx"))
    order = sorted(range(len(table)), key=lambda number: (contents[number], diagnoses[number], number))
    equal = [pair for pair in pairwise(order) if contents[pair[0]] == contents[pair[1]] != b"" and asked[[*pair]].any()]
    pairs = [(ids[min(pair)], ids[max(pair)], 0) for pair in equal if lesions[pair[0]] != lesions[pair[1]]]
    return pd.DataFrame(pairs, columns=["image_id", "other_image_id", "score"])
