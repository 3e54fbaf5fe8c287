"""One trial: a training in a process of Ray, and its outcome."""
