"""What is measured beside the operator. Each is a program of its own, and knows nothing of the bench."""
