"""How the database's schema came about, one file a step; `coach migrate` takes them."""
