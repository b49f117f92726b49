"""The CustomResourceDefinition and the reference page, generated from the types in `api`.

Decides how a type becomes a schema. Never part of a reconcile.
"""
