"""The programs that a person or `ray job submit` starts, as `python -m jobs.<name>`."""

import sys

from hcvae.interruption import guard_program

if sys.argv[0] == "-m":  # so it is while `python -m jobs.NAME` looks for the program
    guard_program()
