"""Images that show one lesion under two lesion ids, found by content.

    python -m lesions.data.duplicates /path/to/ham10000 --pairs pairs.csv --sheet pairs.png

Two round brown spots look alike to any embedding; the same skin has the same fine marks in the same places. So a
pair counts when enough matched keypoints (SIFT) agree on one shift, turn and scale, and, where they are few, when the
two images laid over each other that way are the same image. Candidates come from votes of keypoints that are each
other's nearest within a word of a vocabulary (after Sivic and Zisserman, "Video Google", ICCV 2003, and Jegou et al.,
"Hamming embedding", ECCV 2008), which needs no pretrained model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesions.data.duplicates.candidates import find_candidates
from lesions.data.duplicates.keypoints import find_keypoints
from lesions.data.duplicates.verification import score_pairs


def find_pairs(
    paths: Sequence[Path], lesions: Sequence[str], processes: int, asked: NDArray[np.bool_] | None = None
) -> pd.DataFrame:
    """Pairs of images of different lesion ids that show one lesion: columns first, second (row numbers), score.

    The score is the number of places at which matched keypoints agree on one similarity transform. With `asked`,
    a mask of the images, only pairs that hold at least one of these are sought.
    """
    keypoints = find_keypoints(paths, processes)
    asked = np.ones(len(paths), bool) if asked is None else asked
    candidates = find_candidates(keypoints, np.asarray(lesions), asked)
    scores = score_pairs(paths, keypoints, candidates, processes)
    table = pd.DataFrame({"first": candidates[:, 0], "second": candidates[:, 1], "score": scores})
    return table[table["score"] > 0].sort_values("score", ascending=False, kind="stable", ignore_index=True)


def name_pairs(found: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """What `find_pairs` gives, by the names of the images: columns image_id, other_image_id, score."""
    ids = names.to_numpy()
    return pd.DataFrame(
        {"image_id": ids[found["first"]], "other_image_id": ids[found["second"]], "score": found["score"]}
    )
