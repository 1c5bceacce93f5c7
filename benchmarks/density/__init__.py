"""How near density models come to sources whose entropy is known."""
