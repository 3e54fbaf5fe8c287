"""The search space: its parameters, their combinations, and values that a person has chosen."""
