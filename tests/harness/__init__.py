"""What the integration tests drive the whole operator with: real processes, watched from the outside.

The operator and the simulated platform run as processes of their own beside the real control plane; nothing here
reaches into either.
"""
