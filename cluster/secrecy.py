"""Keep secrets out of jobs: arguments, metadata and environment variables show in Ray's job API and in its logs."""

import re

from cluster.errors import ClusterError

SECRET_WORD = r"(?:password|passwd|secret|token|credential|api_?key|access_?key)"
LOOKS_SECRET = {
    "a URL with a password": re.compile(r"\w://[^/\s@:]*:[^/\s@]+@"),
    "a password, key or token": re.compile(rf"(?i){SECRET_WORD}(?!\w*_(?:file|path)\b)[\w-]*[\s=:]+['\"]?\S"),
    "an access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\b(?:gh[pousr]_|hf_)\w{20,}"),
}


def refuse_secrets(place: str, text: str) -> None:
    """Check that `text` holds no secret. Names of secrets, and paths of files that hold them, are allowed.

    Raises:
        ClusterError: it seems to hold one; the message has the place, but not the secret.
    """
    for what, pattern in LOOKS_SECRET.items():
        if pattern.search(text):
            raise ClusterError(
                f"{place}: holds {what}, which Ray would show in its job API and its logs; pass a name or a file "
                "instead that the nodes have (.pgpass or PGSERVICE for PostgreSQL, AWS_PROFILE, a Kubernetes secret)"
            )
