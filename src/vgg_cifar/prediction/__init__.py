"""From pictures of any kind to what a run's network takes them for."""
