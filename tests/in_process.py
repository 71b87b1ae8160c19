"""A command's `main`, run inside the test, which saves the seconds that a fresh Python needs to import torch."""

from __future__ import annotations

import importlib
import io
from contextlib import chdir, redirect_stderr, redirect_stdout
from subprocess import CompletedProcess
from unittest.mock import patch

from conftest import ROOT


def in_process(script: str, *arguments: object, check: int = 0) -> CompletedProcess[str]:
    """As `conftest.command`, for what does not depend on a fresh process or on its environment."""
    module, *words = map(str, arguments if script == "-m" else (script.removesuffix(".py"), *arguments))
    name = f"{module}.__main__" if script == "-m" else module
    out, err, code = io.StringIO(), io.StringIO(), 0
    with patch("sys.argv", [module, *words]), chdir(ROOT), redirect_stdout(out), redirect_stderr(err):
        try:
            importlib.import_module(name).main()
        except SystemExit as end:
            code = end.code
    assert code == check, f"exit code {code}\n{out.getvalue()}\n{err.getvalue()}"
    assert check != 2 or "Traceback" not in err.getvalue(), err.getvalue()
    return CompletedProcess([module, *words], code, out.getvalue(), err.getvalue())
