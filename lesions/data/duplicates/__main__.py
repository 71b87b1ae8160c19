"""The command `python -m lesions.data.duplicates`."""

from lesions.data.duplicates.search import main

main()
