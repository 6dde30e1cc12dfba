"""Health: looks at site, API and database, and what they add up to."""
