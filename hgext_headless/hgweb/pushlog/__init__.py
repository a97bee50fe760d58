"""The pushlog: Mozilla's parameters in, JSON, Atom and HTML out.

The API is that of hg.mozilla.org's pushlog
(https://mozilla-version-control-tools.readthedocs.io/en/latest/hgmo/pushlog.html).

- `commands`: the web commands
- `query`: parameters, and the pushes that they select; `meanings`: what the text of a search can
  mean; `times`: dates, as people write them
- `visibility`: how far this server may show the log, and the state of a changeset
- `json_format`, `html_format`: the answers; `push_rows`: the rows of a push; `push_page`: its files
  and its diff; `nothing`: what a page says that finds no push
- `automationrelevance`: what build tasks ask of a changeset
- `links`: what descriptions name, and the links that are configured
- `keywords`: template keywords and revset predicates
- `decorate`: what hgweb's own pages show of pushes, how they are escaped, and our templates
- `wire_command`: the pushlog for mirrors
"""
