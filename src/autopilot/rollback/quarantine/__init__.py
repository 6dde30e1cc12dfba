"""Quarantine restore: the live objects of whole schemas step aside, kept, and the backup's take their place."""
