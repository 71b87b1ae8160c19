"""A script's `main`, run inside the test, which saves the seconds that a fresh Python needs to import torch."""

from __future__ import annotations

import importlib
import io
from contextlib import chdir, redirect_stderr, redirect_stdout
from subprocess import CompletedProcess
from unittest.mock import patch

from conftest import ROOT


def in_process(script: str, *arguments: object, check: int = 0) -> CompletedProcess[str]:
    """As `conftest.command`, for what does not depend on a fresh process or on its environment."""
    words, out, err, code = [script, *map(str, arguments)], io.StringIO(), io.StringIO(), 0
    with patch("sys.argv", words), chdir(ROOT), redirect_stdout(out), redirect_stderr(err):
        try:
            importlib.import_module(script.removesuffix(".py")).main()
        except SystemExit as end:
            code = end.code
    assert code == check, f"exit code {code}\n{out.getvalue()}\n{err.getvalue()}"
    return CompletedProcess(words, code, out.getvalue(), err.getvalue())
