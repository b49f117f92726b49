"""The client of the Kubernetes API: connections, credentials, watches, writes and Events.

The only package that knows the official client. Decides how a request is sent and retried, never what is written.
"""
