"""The results of a search as tables, charts and an HTML page, and the live view of a running one."""
