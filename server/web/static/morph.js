// Turn one piece of a page into another in place, so that focus, selection, scrolling and opened parts stay.

const keyOf = node => node.dataset?.key ?? node.dataset?.stage ?? ''

function attributes(from, to) {
  const opened = from.nodeName === 'DETAILS'
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name) && !(opened && name === 'open')) from.removeAttribute(name)
  for (const { name, value } of to.attributes)
    if (from.getAttribute(name) !== value && !(opened && name === 'open')) from.setAttribute(name, value)
}

export function morph(from, to) {
  if (from.nodeName !== to.nodeName || keyOf(from) !== keyOf(to)) {
    from.replaceWith(document.importNode(to, true))
    return
  }
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue
    return
  }
  attributes(from, to)
  if (from.nodeName === 'TIME' && from.hasAttribute('data-ago')) return  // its text runs by itself
  children(from, to)
}

function children(from, to) {
  const kept = new Map([...from.children].filter(keyOf).map(child => [keyOf(child), child]))
  let here = from.firstChild
  for (const fresh of [...to.childNodes]) {
    const known = fresh.nodeType === Node.ELEMENT_NODE && keyOf(fresh) ? kept.get(keyOf(fresh)) : null
    if (known) {
      if (known === here) here = here.nextSibling
      else from.insertBefore(known, here)
      morph(known, fresh)
    } else if (here && here.nodeName === fresh.nodeName && !keyOf(here) && !keyOf(fresh)) {
      const next = here.nextSibling
      morph(here, fresh)
      here = next
    } else from.insertBefore(document.importNode(fresh, true), here)
  }
  while (here) {
    const next = here.nextSibling
    here.remove()
    here = next
  }
}
