// Live pages: pieces of the page are replaced as the server tells of them. Without this script every
// page still works; it shows what was true when it was loaded, and has a link to load it again.
"use strict";

(() => {
  const main = document.querySelector("main[data-live]");
  if (!main || !window.EventSource) return;
  const status = document.getElementById("live");
  const heard = { at: Date.now() };
  const say = (text, stale) => {
    if (status.textContent !== text) status.textContent = text;
    document.body.classList.toggle("stale", stale);
  };
  const clock = (time) => new Date(time).toISOString().slice(11, 19) + " UTC";

  const source = new EventSource(main.dataset.live);
  source.addEventListener("piece", (event) => {
    heard.at = Date.now();
    const piece = JSON.parse(event.data);
    const place = document.getElementById(piece.id);
    // Nobody's hand is pulled away: what is being used is replaced once it is left.
    if (place && !place.contains(document.activeElement)) place.innerHTML = piece.html;
  });
  source.addEventListener("tick", () => { heard.at = Date.now(); });
  source.addEventListener("gone", () => { source.close(); location.reload(); });

  setInterval(() => {
    const silent = Date.now() - heard.at;
    if (silent > 6000) say("Not live: last heard at " + clock(heard.at) + ". Trying again.", true);
    else say("Live", false);
  }, 1000);
})();
