"""Faults by the thousand: seeded runs of the whole operator against a platform and a Kubernetes that misbehave.

What is real: everything of the operator from `wiring` inward, its HTTP clients and its Lease; the simulator with its
HTTP server; each request and answer as bytes of HTTP. What is not: sockets, which are pipes in memory; time, which
jumps to whatever comes next; kopf, of whose watch `life` does what matters here; and the API server, which is
`kubernetes`, and says itself what it does not do. So a seed repeats a run exactly, and an hour takes a second.
"""
