"""One page of HTML that needs nothing else: no network, no script; light or dark as the reader's screen is."""

from html import escape

__all__ = ["page"]

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #222; --faint: #666; --paper: #fff; --line: #ddd; --ok: #0072b2; --bad: #d55e00; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #eee; --faint: #aaa; --paper: #16181d; --line: #3a3d45; --ok: #56b4e9; --bad: #ff8c42; }}
}}
body {{ font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 72rem; margin: 2rem auto;
  padding: 0 1rem; }}
h1.fail {{ color: var(--bad); }} h1.pass {{ color: var(--ok); }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .5rem .6rem 0; vertical-align: top; }}
th {{ white-space: nowrap; }}
td.number {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
.faint {{ color: var(--faint); font-size: .875rem; }}
ul {{ margin: .2rem 0; padding-left: 1.2rem; }}
{style}
</style></head><body>
<h1{kind}>{title}</h1>
{body}
</body></html>
"""


def page(title: str, body: str, *, kind: str = "", style: str = "") -> str:
    """Lay out a page.

    Parameters
    ----------
    title
        As text.
    body
        As HTML: whoever gives it has escaped what others wrote.
    kind
        ``pass`` or ``fail`` colours the title.
    style
        More CSS; colours are ``var(--ink)``, ``--faint``, ``--paper``, ``--line``, ``--ok`` and ``--bad``.
    """
    return _PAGE.format(title=escape(title), body=body, kind=f' class="{kind}"' if kind else "", style=style.strip())
