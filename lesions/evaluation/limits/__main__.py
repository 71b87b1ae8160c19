"""The command `python -m lesions.evaluation.limits`."""

from lesions.evaluation.limits.fitting import main

main()
