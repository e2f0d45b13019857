// Keeps what is marked with data-live as new as the server's: asked for every two seconds while the page is seen, and
// patched in, so that focus, open details and what is being typed stay. Asks before a form with data-confirm is sent.
"use strict";

const PAUSE = 2000;
const LONGEST = 30000;

/** Make the children of `old` those of `fresh`, touching only what differs. */
function patch(old, fresh) {
  const from = [...fresh.childNodes];
  from.forEach((node, place) => {
    const held = old.childNodes[place];
    if (!held) {
      old.append(node.cloneNode(true));
    } else if (held.nodeType !== node.nodeType || held.nodeName !== node.nodeName || held.id !== node.id) {
      held.replaceWith(node.cloneNode(true));
    } else if (node.nodeType !== Node.ELEMENT_NODE) {
      if (held.nodeValue !== node.nodeValue) held.nodeValue = node.nodeValue;
    } else {
      attributes(held, node);
      patch(held, node);
    }
  });
  while (old.childNodes.length > from.length) old.lastChild.remove();
}

function attributes(held, fresh) {
  for (const { name } of [...held.attributes]) {
    const kept = name === "open" && held.nodeName === "DETAILS";
    if (!kept && !fresh.hasAttribute(name)) held.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (held.getAttribute(name) !== value) held.setAttribute(name, value);
  }
}

/** What people who do not see the page are told: only where it has changed. */
function announce(live, status) {
  const say = live.querySelector("[data-say]")?.textContent.trim() ?? "";
  if (say && live.dataset.said !== undefined && say !== live.dataset.said) status.textContent = say;
  live.dataset.said = say;
}

async function follow(live) {
  const status = document.querySelector("[data-told]");
  const lost = document.querySelector("[data-lost]");
  let pause = PAUSE;
  announce(live, status);
  for (;;) {
    await new Promise((wake) => setTimeout(wake, pause));
    if (document.hidden) continue;
    try {
      const answer = await fetch(live.dataset.live, { credentials: "same-origin", signal: AbortSignal.timeout(10000) });
      const text = await answer.text();
      if (!answer.ok) throw new Error(text);
      const fresh = document.createElement("template");
      fresh.innerHTML = text;
      patch(live, fresh.content);
      announce(live, status);
      if (lost.textContent) lost.textContent = "";
      pause = PAUSE;
    } catch {
      if (!lost.textContent) lost.textContent = "The backend does not answer: what you see may be old. Trying again.";
      pause = Math.min(2 * pause, LONGEST);
    }
  }
}

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

const address = new URL(location.href);
if (address.searchParams.has("said")) {
  address.searchParams.delete("said");
  history.replaceState(null, "", address);
}
for (const live of document.querySelectorAll("[data-live]")) if (live.childElementCount) follow(live);
