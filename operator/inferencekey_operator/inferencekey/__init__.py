"""The platform's client: its routes, its JSON, its errors, its streams. Knows nothing of Kubernetes."""
