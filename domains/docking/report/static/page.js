"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const colours = { "hydrogen bond": "#0b6e99", "salt bridge": "#b3423a", "pi stacking": "#4f8f4f", "metal": "#8064a2", "hydrophobic": "#9aa4b0" };
  const shown = { all: false, reference: data.reference !== null, contacts: true, labels: true, cartoon: true, surface: false };
  let chosen = 0, viewer = null, surface = null;
  const $ = (id) => document.getElementById(id);
  const make = (tag, text, look) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (look) node.className = look;
    return node;
  };
  const look = (pose) => `l${(Number(pose.tags.cluster || 1) - 1) % 8}`;
  const place = (xyz) => ({ x: xyz[0], y: xyz[1], z: xyz[2] });
  const elements = { N: "#2f5bd0", O: "#d4352a", S: "#c9a227", P: "#d1722b", F: "#4faf6f", Cl: "#2f9e44", Br: "#8a3b2e", I: "#6b2f8f", B: "#d99a8a" };
  const carbons = (colour, radius) => ({ stick: { radius, colorscheme: { prop: "elem", map: { ...elements, C: colour } } } });

  function start() {
    const stage = $("stage");
    try {
      viewer = $3Dmol.createViewer(stage, { backgroundColor: "white", antialias: true });
    } catch (error) { viewer = null; }
    if (!viewer || !stage.querySelector("canvas")) {
      viewer = null;
      stage.replaceChildren(make("p", "This browser shows no WebGL, which the picture needs. All figures are below."));
      return;
    }
    viewer.addModel(data.protein, "pdb", { keepH: false });
    draw();
    viewer.zoomTo({ model: 1 });
    viewer.zoom(0.78);
    viewer.render();
  }

  function draw() {
    if (!viewer) return;
    viewer.removeAllShapes();
    viewer.removeAllLabels();
    for (const model of drawn) viewer.removeModel(model);
    drawn = [];
    const pose = data.poses[chosen];
    const protein = viewer.getModel(0);
    protein.setStyle({}, shown.cartoon ? { cartoon: { color: "#c9d2da", opacity: 0.75, thickness: 0.3 } } : {});
    protein.setStyle({ hetflag: true }, { sphere: { scale: 0.25 }, stick: { radius: 0.12 } });
    const partners = new Set(pose.contacts.map((c) => c.residue.split(" ")[0]));
    for (const r of data.pocket) {
      const near = partners.has(`${r.chain}:${r.resi}`);
      viewer.addStyle({ model: 0, chain: r.chain, resi: Number(r.resi) }, carbons(near ? "#8b98a5" : "#cfd6dd", near ? 0.13 : 0.06));
    }
    const add = (block, style) => {
      const model = viewer.addModel(block, "sdf");
      model.setStyle({}, style);
      drawn.push(model);
    };
    add(pose.mol, carbons("#e08a2e", 0.2));
    if (shown.all) data.poses.forEach((other, i) => { if (i !== chosen) add(other.mol, carbons("#7fb3cc", 0.05)); });
    if (shown.reference && data.reference) add(data.reference, carbons("#4f8f4f", 0.11));
    if (shown.contacts) for (const c of pose.contacts) {
      viewer.addCylinder({ start: place(c.ligand), end: place(c.protein), radius: c.kind === "hydrophobic" ? 0.035 : 0.06,
        dashed: true, dashLength: 0.22, gapLength: 0.16, fromCap: 1, toCap: 1, color: colours[c.kind] });
    }
    if (shown.labels) {
      const labelled = new Set();
      for (const c of pose.contacts) {
        if (labelled.has(c.residue)) continue;
        labelled.add(c.residue);
        viewer.addLabel(c.residue.split(" ").reverse().join(" ").replace(/ .*:/, " "), { position: place(c.protein), fontSize: 12,
          fontColor: "#1d2733", backgroundColor: "white", backgroundOpacity: 0.75, borderThickness: 0, inFront: true });
      }
    }
    viewer.render();
  }
  let drawn = [];

  function toggleSurface() {
    if (!viewer) return;
    if (surface !== null) { viewer.removeSurface(surface); surface = null; viewer.render(); return; }
    const residues = data.pocket.map((r) => ({ chain: r.chain, resi: Number(r.resi) }));
    viewer.addSurface($3Dmol.SurfaceType.MS, { opacity: 0.7, color: "white" }, { model: 0, or: residues }).then((id) => { surface = id; });
  }

  function choose(index) {
    chosen = index;
    document.querySelectorAll("[data-pose]").forEach((node) => node.classList.toggle("chosen", Number(node.dataset.pose) === index));
    const pose = data.poses[index];
    const title = data.is_screen ? pose.name : `pose ${index + 1}`;
    document.querySelectorAll(".which").forEach((node) => { node.textContent = title; });
    $("picture").innerHTML = data.pictures[pose.picture];
    $("smiles").textContent = pose.smiles;
    contactsOf(pose.contacts, $("contacts"));
    draw();
  }

  function contactsOf(list, body) {
    body.replaceChildren();
    for (const c of list) {
      const row = make("tr");
      const kind = make("td", undefined, "words");
      const dot = make("span", undefined, "swatch");
      dot.style.background = colours[c.kind];
      kind.append(dot, c.kind);
      row.append(make("td", c.residue, "words"), make("td", c.distance.toFixed(2)), kind, make("td", c.detail, "words"));
      body.append(row);
    }
    $("no-contacts").hidden = list.length > 0;
  }

  function table() {
    const head = make("tr"), body = $("poses").tBodies[0];
    const columns = [["rank", (p) => p.index + 1]];
    if (data.is_screen) columns.push(["name", (p) => p.name]);
    for (const name of data.columns) columns.push([name, (p) => p.tags[name] ?? ""]);
    columns.push(["contacts", (p) => p.contacts.length]);
    const number = (value) => value !== "" && !Number.isNaN(Number(value));
    columns.forEach(([name, of], place) => {
      const words = data.poses.some((p) => of(p) !== "" && !number(of(p)));
      const cell = make("th", name.replaceAll("_", " "), words ? "words" : "");
      cell.title = "sort by it";
      let down = false;
      cell.addEventListener("click", () => {
        down = !down;
        const rows = [...body.rows].sort((a, b) => {
          const x = a.cells[place].dataset.value, y = b.cells[place].dataset.value;
          return words ? x.localeCompare(y) : Number(x) - Number(y);
        });
        body.append(...(down ? rows.reverse() : rows));
      });
      head.append(cell);
    });
    $("poses").tHead.append(head);
    for (const pose of data.poses) {
      const row = make("tr");
      row.dataset.pose = pose.index;
      row.tabIndex = 0;
      columns.forEach(([name, of], place) => {
        const value = String(of(pose));
        const cell = make("td", "", number(value) || value === "" ? "" : "words");
        cell.dataset.value = value;
        if (place === 0) cell.append(make("span", undefined, `swatch ${look(pose)}`));
        cell.append(name === "failed_checks" ? value.replaceAll("_", " ") : value);
        if (name === "valid" && ["yes", "no"].includes(value)) cell.classList.add(value);
        cell.title = value;
        row.append(cell);
      });
      body.append(row);
    }
  }

  table();
  document.querySelectorAll("[data-pose]").forEach((node) => {
    node.addEventListener("click", () => choose(Number(node.dataset.pose)));
    node.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(Number(node.dataset.pose)); });
  });
  document.querySelectorAll("[data-toggle]").forEach((button) => button.addEventListener("click", () => {
    const name = button.dataset.toggle;
    shown[name] = !shown[name];
    button.setAttribute("aria-pressed", String(shown[name]));
    if (name === "surface") toggleSurface(); else draw();
  }));
  $("centre").addEventListener("click", () => { if (viewer) { viewer.zoomTo({ model: drawn[0] }); viewer.zoom(0.78); viewer.render(); } });
  start();
  choose(0);
  document.body.dataset.ready = viewer ? "3d" : "flat";
})();
