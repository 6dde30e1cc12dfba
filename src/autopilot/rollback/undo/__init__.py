"""How each kind of object is made, unmade and put right: one file a kind, and `table.py` that lists them."""
