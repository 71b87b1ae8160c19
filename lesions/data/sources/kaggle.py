"""HAM10000 from Kaggle."""

from __future__ import annotations

import zipfile
from pathlib import Path

from lesions.data.sources.downloads import BUSY, until_complete
from lesions.faults import InputError

# With its version, so that kagglehub asks Kaggle nothing once it has the files.
KAGGLE_DATASET = "kmader/skin-cancer-mnist-ham10000/versions/2"
KAGGLE_LOGIN = (
    "Create a token on kaggle.com/settings, and put kaggle.json into ~/.kaggle or the token into KAGGLE_API_TOKEN"
)


def from_kaggle() -> Path:
    """Kaggle's copy, through kagglehub, in kagglehub's own cache. Raises InputError."""
    import kagglehub
    from kagglehub.exceptions import DataCorruptionError

    what = f"Kaggle's {KAGGLE_DATASET}"
    try:
        # kagglehub resumes an interrupted download when it is called again, and does not repeat by itself.
        return Path(until_complete(what, lambda: kagglehub.dataset_download(KAGGLE_DATASET), KAGGLE_LOGIN, BUSY))
    except (DataCorruptionError, zipfile.BadZipFile, ValueError) as error:
        raise InputError(f"{what} arrived damaged ({error}); run the same command again") from error
