"""The audit trail: the `automation` schema in the target, what is written there and what is read back."""
