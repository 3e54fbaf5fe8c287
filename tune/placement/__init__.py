"""Where trials run: the resources of the machine or cluster, and the share of each trial."""
