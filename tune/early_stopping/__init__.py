"""Which running trials to stop: the rule (`moasha`) and the actor that applies it."""
