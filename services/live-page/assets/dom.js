// @ts-check
// Elements. All text becomes text nodes: what workers and Discord send is never read as HTML.

/** The element with this id. @param {string} id @returns {any} */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element ${id}`);
  return found;
}

/**
 * A new element with classes and children.
 * @param {string} tag @param {string} classes @param {...(Node | string | null)} children @returns {any}
 */
export function make(tag, classes = "", ...children) {
  const element = document.createElement(tag);
  if (classes) element.className = classes;
  for (const child of children) if (child !== null) element.append(child);
  return element;
}

/** Sets the text of an element if it differs. @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets the classes of an element if they differ. @param {Element} element @param {string} classes */
export function setClass(element, classes) {
  if (element.className !== classes) element.className = classes;
}

/**
 * Makes the children of `parent` those of `items`, each made once by `create` and brought up to date by `update`.
 * @template T
 * @param {HTMLElement} parent @param {T[]} items @param {(item: T) => string} key
 * @param {(item: T) => any} create @param {(element: any, item: T) => void} update
 */
export function keyed(parent, items, key, create, update) {
  /** @type {Map<string, HTMLElement>} */
  const known = new Map();
  for (const child of /** @type {any} */ ([...parent.children])) {
    // Two items may have one key.
    known.get(child.dataset.key)?.remove();
    known.set(child.dataset.key, child);
  }
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let element = known.get(name);
    known.delete(name);
    if (!element) {
      element = create(item);
      /** @type {any} */ (element).dataset.key = name;
    }
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(/** @type {any} */ (element), place);
    update(element, item);
  }
  for (const gone of known.values()) gone.remove();
}
