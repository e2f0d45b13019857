// Loads the pictures of tasks two at a time, those that are seen first; the server makes them when they are asked for.
"use strict";

const AT_ONCE = 2;
const TRIES = 4;
const waiting = [];
let loading = 0;

function next() {
  while (loading < AT_ONCE && waiting.length) {
    loading += 1;
    load(waiting.shift());
  }
}

function load(image, tries = 1) {
  const end = (failed) => {
    loading -= 1;
    image.closest(".thumb").classList.add(failed ? "missing" : "loaded");
    next();
  };
  image.onload = () => end(false);
  image.onerror = () => {
    if (tries < TRIES) setTimeout(() => load(image, tries + 1), 500 * 2 ** tries);
    else end(true);
  };
  image.src = tries === 1 ? image.dataset.src : `${image.dataset.src}?try=${tries}`;
}

const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    waiting.push(target);
  }
  next();
}, { rootMargin: "300px" });

for (const image of document.querySelectorAll("img[data-src]")) seen.observe(image);
