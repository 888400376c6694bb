"""How the database's schema came about, one file a step; `coach migrate` takes them."""

HEAD = "0005"
"""The newest step. A worker compares it to its database's without loading Alembic for that."""
