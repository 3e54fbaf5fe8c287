"""The results of a search, as tables, charts, a page, and a live view."""
