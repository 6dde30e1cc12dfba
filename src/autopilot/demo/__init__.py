"""The story told on this machine: a sample project, and local stand-ins for the host and the channel."""
