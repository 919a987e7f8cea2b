"""From a run's folder to what is known of its network."""
