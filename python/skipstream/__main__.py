"""``python -m skipstream``."""

from .cli import main

main(prog_name="skipstream")
