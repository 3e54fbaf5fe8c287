"""The search space: its parameters, their combinations, and checks of values that a person has chosen."""
