// The page: reads the views once, then follows their changes. State is what the server said last.

import { about, badge, incidentItem, line, prose, stage } from "./render.js";

const at = (id) => document.getElementById(id);
const incidents = new Map();
let shown = { id: "", lines: new Set() };
let loading = false;
let again = false;

const chosen = () => decodeURIComponent(location.hash.slice(1));

async function get(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(`${path} answers ${answer.status}`);
  return answer.json();
}

function showList() {
  const onlyOpen = at("only-open").checked;
  const rows = [...incidents.values()]
    .filter((row) => !(onlyOpen && row.closed))
    .sort((a, b) => b.opened_at_ms - a.opened_at_ms || a.incident_id.localeCompare(b.incident_id));
  const held = document.activeElement?.closest?.("[data-incident]")?.dataset.incident;
  at("incidents").replaceChildren(...rows.map((row) => incidentItem(row, row.incident_id === chosen())));
  if (held) at("incidents").querySelector(`[data-incident="${CSS.escape(held)}"] a`)?.focus();
  at("none").hidden = rows.length > 0;
  const open = [...incidents.values()].filter((row) => !row.closed).length;
  at("figures").textContent = `${open} open, ${incidents.size - open} closed`;
}

function showAsOf(offsets) {
  const places = Object.entries(offsets).map(([partition, offset]) => `${partition}:${offset}`);
  at("as-of").textContent = `current up to offset ${places.join("  ")}`;
}

async function showCourse() {
  const id = chosen();
  at("choose").hidden = id !== "";
  if (!id) {
    at("course").hidden = true;
    shown = { id: "", lines: new Set() };
    return;
  }
  if (loading) {
    again = true;
    return;
  }
  loading = true;
  try {
    const found = await get(`/v1/incidents/${encodeURIComponent(id)}`);
    if (id === chosen()) fillCourse(found);
  } catch (error) {
    if (id !== shown.id) showMissing(id, error);
  } finally {
    loading = false;
  }
  if (again) {
    again = false;
    await showCourse();
  }
}

function fillCourse({ incident, timeline }) {
  const known = shown.id === timeline.incident_id ? shown.lines : null;
  at("course").hidden = false;
  at("timeline-title").replaceChildren(...prose(timeline.title));
  at("about").replaceChildren(...about(incident, timeline));
  at("stages").replaceChildren(...timeline.stages.map(stage));
  at("lines").replaceChildren(...timeline.lines.map((one) => line(one, known !== null && !known.has(one.position))));
  shown = { id: timeline.incident_id, lines: new Set(timeline.lines.map((one) => one.position)) };
  document.title = `${timeline.title} - Autopilot`;
}

function showMissing(id, error) {
  at("course").hidden = false;
  at("timeline-title").textContent = id;
  at("about").replaceChildren(badge("failed"), document.createTextNode(error.message));
  at("stages").replaceChildren();
  at("lines").replaceChildren();
}

async function readAll() {
  const found = await get("/v1/incidents");
  incidents.clear();
  for (const row of found.incidents) incidents.set(row.incident_id, row);
  showAsOf(found.as_of);
  showList();
  await showCourse();
}

let waiting = 0;
function soon(work) {
  if (!waiting) waiting = setTimeout(() => { waiting = 0; work(); }, 100);
}

function live(state, text) {
  at("live").dataset.state = state;
  at("live").textContent = text;
}

function changed(event) {
  const change = JSON.parse(event.data);
  showAsOf(change.as_of);
  if (change.projection === "incidents") {
    if (change.row) incidents.set(change.key, change.row);
    else incidents.delete(change.key);
    soon(() => { showList(); showCourse(); });
  } else if (change.key === chosen() || change.key.startsWith(`${chosen()}/`)) {
    soon(() => { showList(); showCourse(); });
  }
}

function follow() {
  const feed = new EventSource("/v1/changes?projection=incidents,timelines");
  // Read once the feed is there: whatever changes from here on is told, so nothing falls in between.
  feed.addEventListener("hello", () => { live("live", "live"); readAll(); });
  feed.addEventListener("reset", () => readAll());
  feed.addEventListener("change", changed);
  feed.addEventListener("error", () => live("lost", "connection lost, trying again"));
}

at("only-open").addEventListener("change", showList);
window.addEventListener("hashchange", async () => {
  showList();
  await showCourse();
  at("timeline").focus({ preventScroll: true });
});
follow();
