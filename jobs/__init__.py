"""The programs that a person or `ray job submit` starts, as `python -m jobs.<name>`."""
