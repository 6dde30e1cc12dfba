"""PostgreSQL as seen from outside: addresses, sessions, the lock, client programs, embedded servers."""
