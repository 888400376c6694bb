"""The map of the project: see the README for how it is used."""
