// Marks of a picture: the mouse and a finger show their text, and so do the arrow keys; one stop of Tab a picture.
"use strict";
const tip = document.getElementById("tip");

let shown = null;

function hide() {
  shown = null;
  tip.hidden = true;
}

function show(mark) {
  shown = mark;
  tip.textContent = mark.dataset.tip;
  tip.hidden = false;
  tip.style.left = "0px";  // as wide as it wants to be
  const box = mark.querySelector(".shape").getBoundingClientRect();
  const width = tip.offsetWidth, height = tip.offsetHeight, room = 8;
  const left = Math.min(Math.max(room, box.left + box.width / 2 - width / 2), innerWidth - width - room);
  const above = box.top - height - room;
  tip.style.left = `${Math.max(room, left)}px`;
  tip.style.top = `${above > room ? above : box.bottom + room}px`;
}

function place(marks, from, key) {
  if (key === "Home") return 0;
  if (key === "End") return marks.length - 1;
  if (key === "ArrowRight" || key === "ArrowDown") return Math.min(from + 1, marks.length - 1);
  if (key === "ArrowLeft" || key === "ArrowUp") return Math.max(from - 1, 0);
  return -1;
}

for (const plot of document.querySelectorAll(".plot")) {
  const marks = [...plot.querySelectorAll(".mark")];
  marks.forEach((mark, index) => {
    mark.querySelector("title").remove();  // the same text, which the browser would show as well
    mark.setAttribute("tabindex", index ? "-1" : "0");
    mark.addEventListener("mouseenter", () => show(mark));
    mark.addEventListener("mouseleave", hide);
    mark.addEventListener("focus", () => show(mark));
    mark.addEventListener("blur", hide);
    mark.addEventListener("click", () => show(mark));
    mark.addEventListener("keydown", (event) => {
      const next = place(marks, index, event.key);
      if (next < 0) return;
      event.preventDefault();
      mark.setAttribute("tabindex", "-1");
      marks[next].setAttribute("tabindex", "0");
      marks[next].focus();
    });
  });
}

document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
addEventListener("scroll", () => { if (shown) show(shown); }, { passive: true });  // Tab scrolls, too

let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const details of closed) details.open = true;
});
addEventListener("afterprint", () => { for (const details of closed) details.open = false; });
