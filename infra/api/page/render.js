// Data to elements. Everything from the log goes in as text, never as markup.

const TONES = {
  remediated: "good", recovered: "good", telemetry_restored: "good", verified: "good",
  denied: "bad", failed: "bad", rejected: "bad", escalated: "bad", "needs a person": "bad",
  "waits for approval": "warn", "rolling back": "warn", "rolled back": "warn", inconclusive: "warn",
};

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

// The log marks what was seen with backticks.
export function prose(text) {
  return text.split(/`([^`]+)`/).map((part, i) => (i % 2 ? element("code", {}, part) : document.createTextNode(part)));
}

export function duration(ms) {
  if (ms < 1000) return `${ms} ms`;
  if (ms < 120000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60000)} min ${Math.floor(ms / 1000) % 60} s`;
}

export const clock = (ms) => new Date(ms).toISOString().slice(11, 23);
const day = (ms) => new Date(ms).toISOString().slice(0, 19).replace("T", " ");

export function badge(stage) {
  return element("span", { class: `badge ${TONES[stage] ?? ""}`.trim() }, stage);
}

function time(ms, text) {
  return element("time", { datetime: new Date(ms).toISOString() }, text);
}

export function incidentItem(row, chosen) {
  const link = element(
    "a",
    { href: `#${row.incident_id}`, "aria-current": chosen ? "true" : null },
    element("span", { class: "title", title: row.title }, ...prose(row.title)),
    element("span", { class: "where" }, `${row.domain} / ${row.service}`),
    element("span", { class: "where" }, row.severity),
    element("span", { class: "foot" }, badge(row.stage), time(row.opened_at_ms, `${day(row.opened_at_ms)} UTC`)),
  );
  return element("li", { "data-incident": row.incident_id }, link);
}

export function about(row, timeline) {
  const parts = [
    badge(row.stage),
    element("span", {}, `domain ${timeline.domain}`),
    element("span", {}, `service ${timeline.service}`),
    element("span", {}, `severity ${row.severity}`),
    element("span", {}, `opened ${day(row.opened_at_ms)} UTC`),
  ];
  if (row.remedy) parts.push(element("span", {}, `remedy ${row.remedy}`));
  parts.push(element("span", {}, row.incident_id));
  return parts;
}

export function stage(one) {
  return element("div", {}, element("dt", {}, one.name), element("dd", {}, duration(one.took_ms)));
}

export function line(one, fresh) {
  const ids = [...Object.values(one.ids), one.position];
  return element(
    "tr",
    { "data-event": one.event, class: fresh ? "fresh" : null },
    element("td", {}, time(one.at_ms, clock(one.at_ms))),
    element("td", { class: "number after" }, `+${duration(one.after_ms)}`),
    element("td", {}, one.producer),
    element("td", { class: "why" }, element("span", { class: "event" }, one.event), ...prose(one.why)),
    element("td", { class: "ids" }, ...ids.map((id) => element("span", {}, id)), element("span", {}, `event ${one.event_id}`)),
  );
}
