"""The chart in charts/: rendered by the real helm, and what is generated out of it.

`render.py` calls helm; `values_page.py` and `manifests.py` make what is checked in; `__main__.py` writes it.
"""
