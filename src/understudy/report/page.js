"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);

  // ---- numbers under the pointer ----
  const show = (value, share) => {
    if (share) return (100 * value).toFixed(1) + " %";
    return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4)));
  };
  const make = (tag, text, name) => {
    const made = document.createElement(tag);
    made.textContent = text;
    if (name) made.className = name;
    return made;
  };
  const nearest = (xs, x) => {
    let best = 0;
    for (let i = 1; i < xs.length; i++) if (Math.abs(xs[i] - x) < Math.abs(xs[best] - x)) best = i;
    return best;
  };

  for (const plot of document.querySelectorAll("[data-chart]")) {
    const chart = data.charts[plot.dataset.chart];
    const lines = chart.lines.filter((line) => line.x.length);
    const xs = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
    if (!xs.length) continue;
    const cursor = plot.querySelector(".cursor");
    const [x0, x1] = chart.x, [left, right] = chart.pad;
    let tip = null, at = xs.length - 1;

    const percentOf = (x) => (x1 === x0 ? (left + right) / 2 : left + ((right - left) * (x - x0)) / (x1 - x0));
    const leave = () => {
      if (tip) tip.remove();
      tip = null;
      cursor.classList.remove("on");
    };
    const point = () => {
      const x = xs[at], place = percentOf(x);
      if (!tip) {
        tip = make("div", "", "tip");
        tip.setAttribute("aria-live", "polite");
        plot.append(tip);
      }
      tip.replaceChildren(make("p", chart.xlabel + " " + show(x, false)));
      for (const line of lines) {
        const i = nearest(line.x, x);
        let text = line.n + " " + show(line.y[i], chart.share);
        if (line.l) text += " [" + show(line.l[i], chart.share) + ", " + show(line.h[i], chart.share) + "]";
        if (line.x[i] !== x) text += " (at " + show(line.x[i], false) + ")";
        const row = make("p", "");
        row.append(make("span", "", "swatch k" + line.k), text);
        tip.append(row);
      }
      for (const end of ["x1", "x2"]) cursor.setAttribute(end, place + "%");
      cursor.classList.add("on");
      tip.style.left = place > 50 ? "auto" : "calc(" + place + "% + 10px)";
      tip.style.right = place > 50 ? "calc(" + (100 - place) + "% + 10px)" : "auto";
    };
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const share = (100 * (event.clientX - box.left)) / box.width;
      at = nearest(xs, x0 + ((x1 - x0) * (share - left)) / (right - left));
      point();
    });
    plot.addEventListener("pointerleave", leave);
    plot.addEventListener("blur", leave);
    plot.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === "Escape") leave();
      if (!step) return;
      event.preventDefault();
      if (tip) at = Math.min(xs.length - 1, Math.max(0, at + step));
      point();
    });
  }

  // ---- tables that sort ----
  const key = (row, place) => {
    const cell = row.cells[place];
    return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === typeof b) return a.localeCompare(b);
    return typeof a === "number" ? -1 : 1;
  };
  for (const button of document.querySelectorAll("thead button")) {
    button.addEventListener("click", () => {
      const head = button.closest("th"), body = head.closest("table").tBodies[0];
      const rising = head.getAttribute("aria-sort") !== "ascending";
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const rows = [...body.rows];
      rows.sort((a, b) => compare(key(a, head.cellIndex), key(b, head.cellIndex)) * (rising ? 1 : -1));
      body.append(...rows);
    });
  }

  // ---- narrow screens begin with the contents closed, paper with everything open ----
  const nav = document.querySelector("nav details");
  if (nav && window.matchMedia("(max-width: 999px)").matches) nav.open = false;
  window.addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("main details")) part.open = true;
  });

  // ---- a run that is being written ----
  if (data.live) {
    const parts = () => [...document.querySelectorAll("main details")];
    const kept = sessionStorage.getItem(location.pathname);
    if (kept) parts().forEach((part, i) => { if (kept[i] !== undefined) part.open = kept[i] === "1"; });
    let stamp = null;
    const look = async () => {
      try {
        const answer = await fetch(data.live, { cache: "no-store" });
        const now = answer.ok ? await answer.text() : stamp;
        if (stamp !== null && now !== stamp && document.getSelection().isCollapsed) {
          sessionStorage.setItem(location.pathname, parts().map((part) => (part.open ? "1" : "0")).join(""));
          location.reload();
          return;
        }
        stamp = stamp === null ? now : stamp;
      } catch (error) {
        document.title = document.title.replace(/^(not served: )?/, "not served: ");
      }
      setTimeout(look, 3000);
    };
    look();
  }
})();
