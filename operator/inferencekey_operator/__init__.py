"""The InferenceKey operator for Kubernetes. Read `reconcile` first; ARCHITECTURE.md draws the rest."""
