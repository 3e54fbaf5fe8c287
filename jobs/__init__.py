"""The programs that a person or `ray job submit` starts, as `python -m jobs.<name>`."""

import sys

from hcvae.interruption import guard_program

if sys.argv[0] == "-m":  # while Python looks for the program of `python -m jobs.NAME`
    guard_program()
