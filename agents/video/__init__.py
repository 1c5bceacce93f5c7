"""Videos of an agent."""
