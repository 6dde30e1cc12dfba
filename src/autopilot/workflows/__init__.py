"""The stories: each a file read from top to bottom, composed from the nouns."""
