"""Argo CD: what it is told of a Workload, its rules for Lua, and itself as processes, from pinned Go modules."""
