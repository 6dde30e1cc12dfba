"""Alerts: what people are told, and the channels that carry it."""
