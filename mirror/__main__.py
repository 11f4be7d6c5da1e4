"""`python -m mirror` is `dandi-mirror`."""

from mirror.cli.main import main

main()
