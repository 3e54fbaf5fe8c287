"""Where a search runs: on this machine, on a Ray cluster, on Kubernetes."""
