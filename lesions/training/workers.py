"""Worker processes of torch's data loader that say nothing when another one is killed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import TracebackType

from torch.utils.data import DataLoader


def with_quiet_workers(loader: DataLoader) -> DataLoader:
    """If a worker is killed, the command ends in the middle of its talks with the others, whose threads would show that
    as tracebacks beside the one clear error."""
    loader.worker_init_fn = partial(_start, loader.worker_init_fn)
    return loader


def _start(then: Callable[[int], None] | None, number: int) -> None:
    sys.excepthook = _pass_over_lost_connections
    if then:
        then(number)


def _pass_over_lost_connections(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, (EOFError, ConnectionError)):
        sys.__excepthook__(kind, error, trace)
