"""The commands of those who look after a deployment, by topic; `agent.cli` puts them together."""
