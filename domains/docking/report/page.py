"""The HTML of a report: one file with its styles, scripts, structures and drawings inside."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from rdkit import Chem

from domains.docking.report.folder import Results
from domains.docking.report.page_data import page_data
from domains.docking.report.plots import Dot, scatter

_HERE: Final = Path(__file__).parent
_NEAR: Final = 2.0  # Å; a pose that near to the known one counts as found
_LOOKS: Final = 8  # colours of clusters
_POLICY: Final = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
"""The page can fetch nothing, whatever is in it."""


def page(results: Results) -> str:
    """The page of one ligand's poses, or of a screen's best ligands."""
    run, data = results.run, page_data(results)
    title = "Best ligands of a screen" if results.is_screen else str(run.get("name", results.folder.name))
    legend = "".join(
        f'<span><i style="color:{colour}"></i>{kind}</span>'
        for kind, colour in (
            ("salt bridge", "#b3423a"),
            ("hydrogen bond", "#0b6e99"),
            ("pi stacking", "#4f8f4f"),
            ("metal", "#8064a2"),
            ("hydrophobic", "#9aa4b0"),
        )
    )
    known = _button("reference", "known pose (green)", pressed=True) if results.reference is not None else ""
    plots = "".join(f"<div>{plot}</div>" for plot in _plots(results.poses))
    table = "Ligands" if results.is_screen else "Poses"
    words = "".join(f'<th class="words">{text}</th>' for text in ("kind", "its atom"))
    body = f"""<header><h1>{escape(title)}</h1><p>{escape(_subtitle(results))}</p>
<dl class="facts">{_list(_facts(results))}</dl></header>
<main>
<div class="column">
<section class="card"><h2>In the pocket<small class="which"></small></h2><div id="stage"></div>
<div class="tools">{_button("all", "all poses")}{known}{_button("contacts", "contacts", pressed=True)}
{_button("labels", "labels", pressed=True)}{_button("cartoon", "cartoon", pressed=True)}{_button("surface", "surface")}
<button id="centre" type="button">centre</button></div><p class="legend">{legend}</p></section>
<section class="card late"><h2>Scores<small>a click chooses</small></h2><div class="plots">{plots}</div></section>
</div>
<div class="column">
<section class="card"><h2>{table}<small>a click chooses, best first</small></h2>
<div class="scroll"><table id="poses"><thead></thead><tbody></tbody></table></div></section>
{_expectation(run)}
<div class="pair">
<section class="card"><h2>Contacts<small class="which"></small></h2>
<div class="scroll"><table>
<thead><tr><th class="words">residue</th><th>Å</th>{words}</tr></thead>
<tbody id="contacts"></tbody></table><p class="none" id="no-contacts">It touches nothing.</p></div></section>
<section class="card"><h2>Ligand<small class="which"></small></h2><div class="picture" id="picture"></div>
<p class="smiles" id="smiles"></p></section>
</div>
<section class="card late"><h2>What was read with a remark</h2>{_remarks(run)}</section>
<section class="card late"><h2>How it was made</h2><dl class="made">{_list(_made(results))}</dl></section>
</div>
</main>
<script type="application/json" id="data">{_json(data)}</script>
<script>{(_HERE / "vendor" / "3Dmol-min.js").read_text(encoding="utf-8")}</script>
<script>{(_HERE / "static" / "page.js").read_text(encoding="utf-8")}</script>"""
    return document(title, body)


def index(title: str, rows: Sequence[tuple[str, Results]]) -> str:
    """A page that leads to those of several ligands: (address, results)."""
    names = list(dict.fromkeys(name for _, found in rows for name in found.run.get("summary", {})))
    shown = [name for name in names if name not in ("smiles", "grid", "weights", "nfe", "seed", "name")]
    head = "".join(f'<th class="words">{escape(name.replace("_", " "))}</th>' for name in ("ligand", *shown))
    lines = []
    for address, found in rows:
        link = f'<a href="{escape(address)}">{escape(str(found.run.get("name", address)))}</a>'
        cells = "".join(f"<td>{escape(str(found.run.get('summary', {}).get(name, '')))}</td>" for name in shown)
        lines.append(f'<tr><td class="words">{link}</td>{cells}</tr>')
    body = f"""<header><h1>{escape(title)}</h1><p>{len(rows)} ligands; each name leads to its poses</p></header>
<main class="list"><section class="card"><div class="scroll" style="max-height:none"><table>
<thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div></section></main>"""
    return document(title, body)


def document(title: str, body: str) -> str:
    """An HTML file that loads nothing."""
    style = (_HERE / "static" / "page.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><link rel="icon" href="data:,">
<title>{escape(title)}</title><style>{style}</style></head>
<body>{body}</body></html>
"""


def _json(data: Any) -> str:  # noqa: ANN401
    """JSON that no text in it can end."""
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")


def _button(name: str, text: str, *, pressed: bool = False) -> str:
    state = "true" if pressed else "false"
    return f'<button type="button" data-toggle="{name}" aria-pressed="{state}">{escape(text)}</button>'


def _list(pairs: Iterable[tuple[str, object]]) -> str:
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>" for name, value in pairs)


def _subtitle(results: Results) -> str:
    run = results.run
    if results.is_screen:
        made = run["depends_on"]
        return f"{made['protein']} · {made['pocket']}"
    return f"{Path(run['protein']['file']).name} · {run['protein']['report']} · pocket: {run['pocket']['spec']}"


def _facts(results: Results) -> list[tuple[str, object]]:
    if results.is_screen:
        counts = results.run.get("counts", {})
        return [*counts.items(), ("shown here", len(results.poses))]
    best = results.poses[0]
    summary = results.run.get("summary", {})
    found: list[tuple[str, object]] = [("poses", len(results.poses))]
    found += [("clusters at 2 Å", summary["clusters"])] if "clusters" in summary else []
    for tag, text in (("score", "best score"), ("valid", "best pose valid"), ("rmsd", "best pose to the known one, Å")):
        if best.HasProp(tag):
            found.append((text, best.GetProp(tag)))
    if "lowest_rmsd" in summary:
        found.append(("nearest pose to the known one, Å", summary["lowest_rmsd"]))
    return found


def _made(results: Results) -> list[tuple[str, object]]:
    run = results.run
    if results.is_screen:
        return [*run["depends_on"].items(), *run.get("versions", {}).items()]
    best, seconds = results.poses[0], run.get("seconds", {})
    tags = [(name, best.GetProp(name)) for name in ("nfe", "seed", "grid", "weights") if best.HasProp(name)]
    timed = [(f"seconds, {name}", f"{value:.2f}") for name, value in seconds.items()]
    return [*tags, *timed, *run.get("versions", {}).items()]


def _expectation(run: Mapping[str, Any]) -> str:
    lines = "".join(f"<li>{escape(str(line))}</li>" for line in run.get("expectation", ()))
    return f'<section class="card"><h2>How sure it is</h2><ul>{lines}</ul></section>' if lines else ""


def _remarks(run: Mapping[str, Any]) -> str:
    lines = [*run.get("remarks", ())]
    if run.get("failed_samples"):
        lines.append(f"samples that failed: {', '.join(map(str, run['failed_samples']))}")
    if not lines:
        return '<p class="none">Nothing.</p>'
    return "<ul>" + "".join(f"<li>{escape(str(line))}</li>" for line in lines) + "</ul>"


def _plots(poses: Sequence[Chem.Mol]) -> list[str]:
    """Score by rank; and where known, score by RMSD."""
    scores = [float(mol.GetProp("score")) for mol in poses]
    looks = [f"l{(int(mol.GetProp('cluster')) - 1) % _LOOKS}" if mol.HasProp("cluster") else "l0" for mol in poses]
    labels = [
        f"{i + 1}: {mol.GetProp('_Name')}, score {score:.3f}"
        for i, (mol, score) in enumerate(zip(poses, scores, strict=True))
    ]
    by_rank = [Dot(i, i + 1.0, scores[i], looks[i], labels[i]) for i in range(len(poses))]
    found = [scatter(by_rank, "rank", "score")]
    if all(mol.HasProp("rmsd") for mol in poses):
        by_rmsd = [Dot(i, float(mol.GetProp("rmsd")), scores[i], looks[i], labels[i]) for i, mol in enumerate(poses)]
        found.append(scatter(by_rmsd, "RMSD to the known pose, Å", "score", line_at=_NEAR))
    return found
