"""The pushlog: Mozilla's parameters in, JSON, Atom and HTML out.

The API is that of hg.mozilla.org's pushlog
(https://mozilla-version-control-tools.readthedocs.io/en/latest/hgmo/pushlog.html).
"""
