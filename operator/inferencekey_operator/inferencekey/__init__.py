"""The platform's client: its routes, its JSON, its errors, its streams, and one shared list per project.

Decides when the platform is called, and what an answer means. Must not know Kubernetes, nor what a Workload declares.
"""
