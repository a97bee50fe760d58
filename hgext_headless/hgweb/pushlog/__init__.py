"""The pushlog: Mozilla's parameters in, JSON, Atom and HTML out.

The API is that of hg.mozilla.org's pushlog
(https://mozilla-version-control-tools.readthedocs.io/en/latest/hgmo/pushlog.html).

- `commands`: the web commands
- `query`: parameters, and the pushes that they select; `dates`: what people write for one
- `visibility`: how far this server may show the log
- `json_format`, `html_format`: the answers; `mozilla_names`: the latter's for Mozilla's styles
- `states`: what a changeset is by now: public, a draft, obsolete, gone
- `templates`, `rendering`: the project's own templates, and a page that is sent when it is whole
- `automationrelevance`: what build tasks ask of a changeset
- `description`: bugs, reviewers and back-outs in a changeset's description
- `changeset_facts`, `links`: what templates know of that, and the links that are configured
- `keywords`: template keywords and revset predicates
- `template_patches`: what hgweb's own pages show of pushes
- `wire_command`: the pushlog for mirrors
"""
