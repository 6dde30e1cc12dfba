"""The routes back, a file each: its conditions, what it costs, what it would lose. `rollback.route` chooses among them."""
