"""Migrations: files, the statements in them, the plan against the ledger, and applying it."""
