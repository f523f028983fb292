// What is true of a page however it looks: an object of figures and complaints.
(async () => {
  const wrong = [];
  const shown = new Promise((done) => {
    requestAnimationFrame(() => requestAnimationFrame(done));
    setTimeout(done, 500); // a window that is not painted
  });
  await shown;
  const shifts = new PerformanceObserver(() => {});
  shifts.observe({ type: "layout-shift", buffered: true });
  let shift = 0;
  // What moves because somebody unfolded something is no surprise.
  const touched = ["pointerdown", "keydown"].some((kind) => performance.eventCounts.get(kind));
  for (const e of touched ? [] : shifts.takeRecords()) {
    shift += e.value;
    if (e.value > 0.001) wrong.push("moves: " + e.sources.map((s) => s.node && s.node.outerHTML && s.node.outerHTML.slice(0, 80)).join(" | "));
  }
  shifts.disconnect();

  const [page] = performance.getEntriesByType("navigation");
  const files = performance.getEntriesByType("resource").filter((r) => !r.name.endsWith("axe.js"));
  const bytes = page.encodedBodySize + files.reduce((sum, r) => sum + r.encodedBodySize, 0);

  for (const form of document.forms) {
    const action = new URL(form.getAttribute("action") ?? "", location.href); // a field may be called action, too
    if (action.origin !== location.origin) wrong.push("a form leads to " + action.origin);
    const ours = !action.pathname.startsWith("/demo");
    if (form.getAttribute("method") === "post" && ours && !(form.elements.csrf && form.elements.csrf.value)) wrong.push("the form to " + action.pathname + " has no token");
  }
  // What a chart says of the value under the pointer is placed by its script.
  for (const e of document.querySelectorAll("[style]:not(.plot .here, .plot .tip), style, script:not([src])")) wrong.push("inline: " + e.outerHTML.slice(0, 80));
  for (const e of document.querySelectorAll("[tabindex]")) if (e.tabIndex > 0) wrong.push("a tab order of its own: " + e.outerHTML.slice(0, 80));

  // Who wants no motion gets none.
  if (matchMedia("(prefers-reduced-motion: reduce)").matches)
    for (const e of document.querySelectorAll("*")) {
      const style = getComputedStyle(e);
      if (!style.display) continue; // what is not drawn, a title in a drawing, has no style
      if (style.animationName !== "none" || style.transitionDuration.split(", ").some((d) => d !== "0s")) wrong.push("moves for who wants no motion: " + e.outerHTML.slice(0, 80));
    }
  else wrong.push("the test is to want no motion");

  // Targets that are not within a sentence have the size of a finger.
  for (const e of document.querySelectorAll("button, .button, summary, input:not([type=hidden]):not([type=radio]):not([type=checkbox]), select, textarea, label.choice, .tabs a, .bar a")) {
    const box = e.getBoundingClientRect();
    if (box.width && e.checkVisibility() && box.height < 43.5) wrong.push("only " + Math.round(box.height) + " px high: " + e.outerHTML.slice(0, 80));
  }
  return { wrong, shift, bytes, wait: page.responseStart - page.requestStart, width: document.documentElement.scrollWidth };
})()
