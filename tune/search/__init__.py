"""Starting a search from Python."""

from tune.search.run import plan_search, run_search

__all__ = ["plan_search", "run_search"]
