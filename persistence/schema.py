"""All tables that there are: whoever compares or makes them imports them here."""

from __future__ import annotations

from sqlalchemy import MetaData

from persistence import models, operations
from persistence.tables import Table

MODULES = (models, operations)

metadata: MetaData = Table.metadata
