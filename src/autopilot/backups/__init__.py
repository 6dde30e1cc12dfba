"""Backups: dumped, read back, hashed, described by a manifest, and restored."""
