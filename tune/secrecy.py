"""Keys of an object store stay where they are: each node has its own, or inherits this machine's.

Ray Tune passes AWS's on to its actors in their runtime environment, and Ray shows that in the process list, in its logs
and in its API (Ray 2.60).
"""

import ray.tune.execution.class_cache

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")


def keep_keys() -> None:
    """Let the Tuners of this process pass on no keys."""
    ray.tune.execution.class_cache.ENV_VARS_TO_PROPAGATE.difference_update(KEYS)
