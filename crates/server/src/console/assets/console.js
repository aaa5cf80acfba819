// What a page can do with a script: it is live, its times are the reader's, and its charts tell their values.
// Without it every page works; it shows what was true when it was loaded, in UTC.
"use strict";

(() => {
  // Times: the reader's, and how long ago. One button shows UTC instead, and the choice is kept.
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const remembered = () => { try { return localStorage.getItem("zone"); } catch { return null; } };
  const remember = (zone) => { try { localStorage.setItem("zone", zone); } catch { /* for this page only */ } };
  let zone = remembered() === "UTC" ? "UTC" : own;
  const written = (options) => new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...options });
  let day, clock, date;
  const choose = () => {
    day = written({ year: "numeric", month: "2-digit", day: "2-digit" });
    clock = written({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
    date = written({ weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  };
  const length = (seconds) => {
    const units = [["d", 86400], ["h", 3600], ["min", 60]];
    const at = units.findIndex(([, size]) => seconds >= size);
    if (at < 0) return "";
    const [unit, size] = units[at];
    const first = Math.floor(seconds / size) + " " + unit;
    const next = units[at + 1];
    const rest = next && Math.floor((seconds % size) / next[1]);
    return rest ? first + " " + rest + " " + next[0] : first;
  };
  const ago = (time) => {
    const seconds = (Date.now() - time) / 1000;
    const long = length(Math.abs(seconds));
    if (!long) return seconds < 0 ? "in under a minute" : "just now";
    return seconds < 0 ? "in " + long : long + " ago";
  };
  const tell = (element) => {
    if (!element.title) element.title = element.textContent;
    const time = Date.parse(element.dateTime);
    const today = day.format(time) === day.format(Date.now());
    const text = today ? clock.format(time) : date.format(time);
    let [at, since] = element.querySelectorAll("span");
    if (!at) {
      at = document.createElement("span");
      since = document.createElement("span");
      since.className = "ago";
      element.replaceChildren(at, since);
    }
    if (at.textContent !== text) at.textContent = text;
    const long = ago(time);
    if (since.textContent !== long) since.textContent = long;
  };
  const tellTimes = (place) => {
    place.querySelectorAll("time").forEach(tell);
    place.querySelectorAll("text[data-at]").forEach((text) => { text.textContent = clock.format(Number(text.dataset.at)); });
  };
  const tellZone = () => {
    const place = document.getElementById("zone");
    if (!place) return;
    const name = written({ timeZoneName: "shortOffset" }).formatToParts(Date.now()).find((part) => part.type === "timeZoneName").value;
    place.textContent = "Times are " + (zone === "UTC" ? "UTC. " : zone.replace("_", " ") + " (" + name + "). ");
    if (own === "UTC") return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = zone === "UTC" ? "Show mine" : "Show UTC";
    button.addEventListener("click", () => {
      zone = zone === "UTC" ? own : "UTC";
      remember(zone);
      choose();
      tellTimes(document);
      tellZone();
      place.querySelector("button").focus();
    });
    place.append(button);
  };

  // Charts: a line under the pointer, or moved by the arrow keys, with the values there.
  const SVG = "http://www.w3.org/2000/svg", FULL = 10000;
  const pointed = new Map();
  const short = (value) => {
    const [part, unit] = value >= 1e6 ? [value / 1e6, "M"] : value >= 1e4 ? [value / 1e3, "k"] : [value, ""];
    return Number(part.toFixed(part < 100 ? 2 : 0)) + unit;
  };
  const nearest = (figure, number, x) => {
    let best = null;
    figure.querySelectorAll("polyline.line-" + number).forEach((line) => {
      for (const pair of line.getAttribute("points").split(" ")) {
        const [px, py] = pair.split(",").map(Number);
        if (!best || Math.abs(px - x) < Math.abs(best[0] - x)) best = [px, py];
      }
    });
    return best;
  };
  const drawn = (name, attributes) => {
    const element = document.createElementNS(SVG, name);
    Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
    return element;
  };
  const point = (figure) => {
    const svg = figure.querySelector("svg"), inner = figure.querySelector("svg svg");
    const part = pointed.get(figure.dataset.chart);
    svg?.querySelectorAll(".hair, .dot").forEach((mark) => mark.remove());
    figure.querySelector(".at")?.remove();
    if (!svg || part === undefined) return;
    const first = nearest(figure, 1, part * FULL);
    if (!first) return;
    const top = Number(inner.getAttribute("y")), high = Number(inner.getAttribute("height"));
    const x = (first[0] / FULL * 100).toFixed(2) + "%";
    svg.append(drawn("line", { class: "hair", x1: x, x2: x, y1: top, y2: top + high }));
    figure.querySelectorAll(".value").forEach((value, index) => {
      const found = nearest(figure, index + 1, first[0]);
      if (!found) return;
      const number = (FULL - found[1]) / FULL * Number(figure.dataset.top);
      value.querySelector("strong").textContent = short(number);
      svg.append(drawn("circle", { class: "dot dot-" + (index + 1), r: 4, cx: x, cy: top + found[1] / FULL * high }));
    });
    const from = Number(figure.dataset.from), to = Number(figure.dataset.to);
    const at = document.createElement("span");
    at.className = "at";
    at.textContent = clock.format(from + first[0] / FULL * (to - from));
    figure.querySelector(".reading").append(at);
  };
  const restore = (figure) => {
    pointed.delete(figure.dataset.chart);
    figure.querySelectorAll(".value strong").forEach((value) => { value.textContent = value.dataset.last; });
    point(figure);
  };
  const prepare = (place) => place.querySelectorAll("figure.chart").forEach((figure) => {
    figure.querySelectorAll(".value strong").forEach((value) => { value.dataset.last = value.textContent; });
    point(figure);
  });
  const figureOf = (event) => event.target.closest?.("figure.chart svg") && event.target.closest("figure.chart");
  document.addEventListener("pointermove", (event) => {
    const figure = figureOf(event);
    document.querySelectorAll("figure.chart").forEach((other) => {
      if (other !== figure && pointed.has(other.dataset.chart) && !other.contains(document.activeElement)) restore(other);
    });
    if (!figure) return;
    const box = figure.querySelector("svg").getBoundingClientRect();
    pointed.set(figure.dataset.chart, Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
    point(figure);
  });
  document.addEventListener("keydown", (event) => {
    const figure = figureOf(event), step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
    if (!figure || !(step || event.key === "Escape")) return;
    event.preventDefault();
    if (!step) return restore(figure);
    const now = pointed.get(figure.dataset.chart) ?? 1;
    pointed.set(figure.dataset.chart, Math.min(1, Math.max(0, now + step)));
    point(figure);
    const read = [...figure.querySelectorAll(".reading > span")].map((span) => span.textContent).join(", ");
    figure.querySelector(".spoken").textContent = read;
  });
  document.addEventListener("focusout", (event) => { const figure = figureOf(event); if (figure) restore(figure); });

  choose();
  tellTimes(document);
  tellZone();
  prepare(document);
  setInterval(() => document.querySelectorAll("time").forEach(tell), 10000);

  // Live: pieces of the page are replaced when the server sends new ones.
  const main = document.querySelector("main[data-live]");
  if (!main || !window.EventSource) return;
  const status = document.getElementById("live");
  // Nothing yet: the page is not live before the server has sent something.
  const heard = { at: Date.now(), any: false };
  const hear = () => { heard.at = Date.now(); heard.any = true; };
  const say = (text, stale) => {
    if (status.textContent !== text) status.textContent = text;
    document.body.classList.toggle("stale", stale);
    document.body.classList.toggle("heard", !stale);
  };
  const source = new EventSource(main.dataset.live);
  source.addEventListener("piece", (event) => {
    hear();
    const piece = JSON.parse(event.data);
    const place = document.getElementById(piece.id);
    // A piece that has the focus is replaced after it loses it.
    if (!place || place.contains(document.activeElement)) return;
    place.innerHTML = piece.html;
    tellTimes(place);
    prepare(place);
  });
  source.addEventListener("tick", hear);
  source.addEventListener("gone", () => { source.close(); location.reload(); });
  setInterval(() => {
    const silent = Date.now() - heard.at;
    if (silent > 6000) say("Not live: last heard at " + clock.format(heard.at) + ". Trying again.", true);
    else if (heard.any) say("Live", false);
  }, 1000);
})();
