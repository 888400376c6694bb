"""What is stored: the journal on disk, Postgres behind it, and the shipper between the two.

Every SQL statement of the project is in this package; callers give a connection first. Nothing in
here knows LiveKit, HTTP or a provider.
"""
