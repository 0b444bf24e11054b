// What the pages of the console cannot do by themselves: times in the reader's zone, reading a page again while it is looked
// at, and asking before a change. Without this module every page still works.

const UPDATE_INTERVAL = 3000;

const shortTime = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

/** Shows times in the reader's zone; the exact instant stays the title. */
function showTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const instant = new Date(time.dateTime);
    if (!Number.isNaN(instant.getTime())) time.textContent = shortTime.format(instant);
  }
}

/** Asks before forms that say so are sent, and sends no empty fields of a search. */
function watchForms() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.confirm && !window.confirm(form.dataset.confirm)) {
      event.preventDefault();
      return;
    }
    if ("dropEmpty" in form.dataset) {
      for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
    }
  });
  // a page that comes back from the history has its fields again
  window.addEventListener("pageshow", () => {
    for (const field of document.querySelectorAll("[data-drop-empty] :disabled")) field.disabled = false;
  });
}

/** A link to the sign-in may carry the token behind the #, which no server and no log gets to see. */
function signInByLink() {
  const form = document.querySelector("[data-sign-in]");
  const token = location.hash.slice(1);
  // nor is it to stay in the address of another page
  if (!token || document.getElementById(token)) return;
  history.replaceState(null, "", location.pathname + location.search);
  if (!form) return;
  form.elements.token.value = token;
  if (!form.elements.name.value) form.elements.name.value = "developer";
  form.requestSubmit();
}

/** By the id of a part: its HTML as it was read last. */
const shown = new Map();

/** Whether somebody marks text there: it would be gone. */
function isSelecting(part) {
  const selection = getSelection();
  return !selection.isCollapsed && part.contains(selection.anchorNode);
}

/** What finds the element in a newer page. */
function focusOf(element) {
  const name = ["href", "aria-label"].find((name) => element.hasAttribute(name));
  return name && `[${name}="${CSS.escape(element.getAttribute(name))}"]`;
}

/** Puts the parts of a newer page in the place of those that are shown, where they differ. */
function update(page) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const newer = page.getElementById(part.id);
    if (!newer || shown.get(part.id) === newer.innerHTML || isSelecting(part)) continue;
    const known = new Set([...part.querySelectorAll("[data-id]")].map((row) => row.dataset.id));
    const scrolled = part.querySelector(".scroll")?.scrollLeft ?? 0;
    const focused = part.contains(document.activeElement) && focusOf(document.activeElement);
    shown.set(part.id, newer.innerHTML);
    part.replaceChildren(...newer.childNodes);
    if (focused) part.querySelector(focused)?.focus({ preventScroll: true });
    if (known.size) {
      for (const row of part.querySelectorAll("[data-id]")) row.classList.toggle("new", !known.has(row.dataset.id));
    }
    if (scrolled) part.querySelector(".scroll").scrollLeft = scrolled;
    showTimes(part);
  }
}

/** Reads the page again and again while somebody looks at it. */
async function live() {
  const offline = document.getElementById("offline");
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, UPDATE_INTERVAL));
    if (document.hidden) continue;
    try {
      const answer = await fetch(location.href, { redirect: "manual", cache: "no-store" });
      if (answer.type === "opaqueredirect") {
        location.reload();
        return;
      }
      offline.hidden = answer.ok;
      if (answer.ok) update(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      offline.hidden = false;
    }
  }
}

/** Goes on if somebody is signed in already: the browser sends no session with a link that another site has. */
async function goOnIfSignedIn() {
  const form = document.querySelector("[data-sign-in]");
  if (!form) return;
  const answer = await fetch(location.href, { redirect: "manual", cache: "no-store" });
  if (answer.type === "opaqueredirect") location.replace(form.elements.next.value || "/");
}

showTimes(document);
watchForms();
signInByLink();
addEventListener("hashchange", signInByLink);
goOnIfSignedIn();
if (document.querySelector("[data-live]")) live();
