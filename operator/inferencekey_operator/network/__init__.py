"""The way out of this process: proxies, certificates, and the environment and files that state them.

Decides which proxy and which certificates a connection uses; not who opens it, nor what for.
"""
