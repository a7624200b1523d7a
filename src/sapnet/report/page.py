"""The page around the sections: one HTML file that loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Sequence

from sapnet.report.markup import Markup, join, tag, text

_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --panel: #f4f5f7; --ink: #1b1f24; --soft: #59636e;
  --rule: #d5dae0; --link: #0b5cad; --warn: #fff4d6; --warn-ink: #6b4a00; --series-1: #2f6fd0;
  --series-2: #c9660a; --series-3: #2c8a50; --series-4: #8246c0; --neutral: #7d8590; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --panel: #1e2329; --ink: #e6e9ed;
  --soft: #a3adb8; --rule: #343b44; --link: #79b4f5; --warn: #3a2f10; --warn-ink: #f5dfa3;
  --series-1: #6ba5f7; --series-2: #f0994a; --series-3: #5fc287; --series-4: #b98af0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
header, main, footer { max-width: 74rem; margin: 0 auto; padding: 1rem 1.2rem; }
h1 { font-size: 1.7rem; margin: .6rem 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.2rem 0 .8rem; padding-top: .6rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1.08rem; margin: 1.6rem 0 .2rem; }
h4 { font-size: .95rem; font-weight: 600; margin: 0 0 .4rem; overflow-wrap: anywhere; }
p { margin: .4rem 0 .8rem; max-width: 60rem; }
a { color: var(--link); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: 0; margin: .6rem 0; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
.note, .detail, .strip-title { color: var(--soft); font-size: .88rem; }
.warning { background: var(--warn); color: var(--warn-ink); padding: .6rem .8rem; border-radius: 6px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .8rem;
  margin-bottom: 1.2rem; }
.card { background: var(--panel); border-radius: 8px; padding: .8rem 1rem; }
.card .value { font-size: 1.9rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); gap: 1rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(18rem, 100%), 1fr)); gap: 1rem;
  margin-bottom: 1rem; max-width: 58rem; }
figure { margin: 0; }
figcaption { font-size: .85rem; color: var(--soft); overflow-wrap: anywhere; }
figcaption b { color: var(--ink); }
img { max-width: 100%; height: auto; display: block; border-radius: 4px; }
article { background: var(--panel); border-radius: 8px; padding: .8rem; margin: .8rem 0; }
.strip { display: flex; gap: .6rem; overflow-x: auto; padding: 3px 3px .3rem; }
.strip figure { flex: 0 0 auto; width: 118px; }
.strip.main figure { width: 180px; }
.strip img { width: 100%; }
.strip .pick img { outline: 3px solid var(--series-1); }
.strip-title { margin: .5rem 0 .2rem; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--rule); vertical-align: top; text-align: right; }
th:first-child { text-align: left; font-weight: 500; }
thead th { font-weight: 600; color: var(--soft); }
#settings td { text-align: left; overflow-wrap: anywhere; max-width: 38rem; }
#settings th { text-align: left; }
summary { cursor: pointer; margin: .6rem 0; }
svg { width: 100%; height: auto; display: block; }
.bars { max-width: 44rem; margin-top: 1rem; }
svg text { fill: var(--ink); font: 13px system-ui, sans-serif; }
svg .tick { fill: var(--soft); font-size: 11px; }
svg .grid { stroke: var(--rule); }
svg .track { fill: var(--panel); }
svg .bar { fill: var(--neutral); }
svg .bar-1 { fill: var(--series-1); } svg .bar-2 { fill: var(--series-2); }
svg .bar-4 { fill: var(--series-3); }
svg .series { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
svg .series-1 { stroke: var(--series-1); } svg .series-2 { stroke: var(--series-2); }
svg .series-3 { stroke: var(--series-3); } svg .series-4 { stroke: var(--series-4); }
svg .dot-1 { fill: var(--series-1); } svg .dot-2 { fill: var(--series-2); }
svg .dot-3 { fill: var(--series-3); } svg .dot-4 { fill: var(--series-4); }
.legend { list-style: none; display: flex; gap: 1rem; padding: 0; margin: .2rem 0; font-size: .85rem; }
.key { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; margin-right: .35rem; }
.key-1 { background: var(--series-1); } .key-2 { background: var(--series-2); }
.key-3 { background: var(--series-3); } .key-4 { background: var(--series-4); }
@media print { nav { display: none; } article, figure, table { break-inside: avoid; } }
"""


def page(title: str, subtitle: str, sections: Sequence[tuple[str, str, Markup]]) -> str:
    """Return a whole HTML document.

    Args:
        title: Of the window and the first heading.
        subtitle: One line below.
        sections: (identifier, name in the navigation, finished section) in order.
    """
    links = [tag("li", tag("a", name, href=f"#{identifier}")) for identifier, name, _ in sections]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        # Nothing may be loaded, run or sent, whatever names the files had.
        tag(
            "meta",
            http_equiv="Content-Security-Policy",
            content="default-src 'none'; img-src data:; style-src 'unsafe-inline'",
        ),
        tag("title", title),
        tag("style", Markup(_STYLE)),
    )
    body = tag(
        "body",
        tag(
            "header",
            tag("h1", title),
            tag("p", subtitle, class_="note"),
            tag("nav", tag("ul", *links), aria_label="Sections"),
        ),
        tag("main", *(content for _, _, content in sections)),
    )
    return join(["", Markup("<!DOCTYPE html>\n"), tag("html", head, body, lang="en"), text("\n")])
