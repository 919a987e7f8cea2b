"""From numbers to what a person reads: in the terminal, and as pages."""
