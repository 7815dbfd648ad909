"""`python -m stackae`."""

from stackae.cli import main

main()
