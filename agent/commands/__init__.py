"""The commands of those who look after a deployment, by topic; `agent.cli` puts them together.

`edge` is what they share: settings, a database, how a failure is said. `terminal` and `reports` are
what they print.
"""
