// The pages' script: times that run, parts that are fetched again when something changed, dialogs, keys.
import { Log } from './log.js'
import { morph } from './morph.js'

const $ = (query, within = document) => within.querySelector(query)
const $$ = (query, within = document) => [...within.querySelectorAll(query)]

// ---- times ----

function ago(seconds) {
  if (seconds < 5) return 'just now'
  for (const [limit, size, unit] of [[60, 1, 's'], [3600, 60, 'min'], [86400, 3600, 'h'], [2592000, 86400, 'd']])
    if (seconds < limit) return `${Math.floor(seconds / size)} ${unit} ago`
  return ''
}

function span(seconds) {
  if (seconds < 9.95) return `${Math.max(0, seconds).toFixed(1)} s`
  const whole = Math.round(seconds)
  for (const [size, unit, less, lesser] of [[86400, 'd', 3600, 'h'], [3600, 'h', 60, 'min'], [60, 'min', 1, 's']])
    if (whole >= size) {
      const rest = Math.floor(whole % size / less)
      return `${Math.floor(whole / size)} ${unit}` + (rest ? ` ${rest} ${lesser}` : '')
    }
  return `${whole} s`
}

function say(element, text) {
  if (text && element.textContent !== text) element.textContent = text
}

function tick() {
  const now = Date.now()
  for (const time of $$('time[data-ago]')) say(time, ago((now - Date.parse(time.dateTime)) / 1000))
  for (const time of $$('time[data-since]')) say(time, span(Math.round((now - Date.parse(time.dataset.since)) / 1000)))
}

// ---- the page again, where it changed ----

let log = null
let fetching = false
let wanted = false

function address() {
  const url = new URL(location.href)
  if (log?.stage) url.searchParams.set('stage', log.stage)
  return url
}

async function refresh() {
  if (fetching) { wanted = true; return }
  fetching = true
  try {
    const shown = address()
    const answer = await fetch(shown, { headers: { Accept: 'text/html' } })
    if (answer.ok && address().href === shown.href) take(new DOMParser().parseFromString(await answer.text(), 'text/html'))
  } catch { /* away for a moment: the event stream says so, and asks again */ }
  await new Promise(done => setTimeout(done, 400))
  fetching = false
  if (wanted) { wanted = false; refresh() }
}

function take(page) {
  for (const part of $$('[data-part]')) {
    const fresh = page.querySelector(`[data-part="${part.dataset.part}"]`)
    if (fresh) morph(part, fresh)
  }
  document.title = page.title
  const icon = $('link[rel=icon]'), freshIcon = page.querySelector('link[rel=icon]')
  if (freshIcon && icon.getAttribute('href') !== freshIcon.getAttribute('href')) icon.replaceWith(freshIcon.cloneNode())
  tick()
}

// ---- what happens, as it happens ----

const live = document.body.dataset.live
let source = null
let over = false
let asking = 0

function listen() {
  if (!live || over || source) return
  source = new EventSource(live)
  source.onopen = () => { $('#link').textContent = ''; clearInterval(asking); refresh() }
  source.onerror = () => {
    $('#link').textContent = 'not live'
    if (source?.readyState === EventSource.CLOSED) {  // refused, not interrupted: ask every few seconds instead
      source = null
      clearInterval(asking)
      asking = setInterval(() => { refresh(); log?.pull() }, 5000)
      setTimeout(listen, 15000)
    }
  }
  for (const name of ['change', 'run', 'check']) source.addEventListener(name, refresh)
  source.addEventListener('run', event => log?.run(JSON.parse(event.data)))
  source.addEventListener('log', event => log?.grown(JSON.parse(event.data)))
  source.addEventListener('end', async () => {
    over = true
    quiet()
    await log?.pull()
    refresh()
  })
}

function quiet() {
  source?.close()
  source = null
}

// A browser opens six connections to a server: tabs that nobody looks at give theirs back.
document.addEventListener('visibilitychange', () => {
  if (document.hidden) quiet()
  else if (live && !over) listen()
})

// ---- buttons: the page that asks, as a dialog ----

async function ask(link) {
  const answer = await fetch(link.href)
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html')
  const confirm = page.querySelector('#confirm')
  if (!confirm) { location.assign(link.href); return }
  for (const form of confirm.querySelectorAll('form')) form.action = link.href
  const dialog = $('#ask')
  dialog.replaceChildren(document.adoptNode(confirm))
  dialog.setAttribute('aria-label', confirm.querySelector('h1').textContent)
  dialog.showModal()
}

document.addEventListener('click', event => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return
  const link = event.target.closest('a[data-ask]')
  if (link) { event.preventDefault(); ask(link).catch(() => location.assign(link.href)); return }
  if (event.target.closest('#ask a[data-back]') || event.target === $('#ask')) { event.preventDefault(); $('#ask').close(); return }
  const stage = event.target.closest('a[data-stage]')
  if (stage && log) { event.preventDefault(); open(stage.dataset.stage) }
})

document.addEventListener('submit', event => {
  const form = event.target
  if (form.method !== 'post') return
  if (form.dataset.sent) { event.preventDefault(); return }
  form.dataset.sent = 'yes'  // pressing twice is pressing once; the server holds to that too
})
addEventListener('pageshow', () => { for (const form of $$('form[data-sent]')) delete form.dataset.sent })

function open(stage) {
  const url = new URL(location.href)
  url.searchParams.set('stage', stage)
  url.hash = ''
  history.replaceState(null, '', url)
  log.pinned = true
  log.show(stage)
  refresh()
}

// ---- keys ----

let before = ''
const go = { f: '/', r: '/runs', p: '/pushes', w: '/workers' }

function step(direction) {
  const rows = $$('tbody tr a:first-of-type, a[data-stage]').filter((link, place, all) =>
    link.dataset.stage || all.findIndex(other => other.closest('tr') === link.closest('tr')) === place)
  const at = rows.indexOf(document.activeElement)
  rows[Math.min(rows.length - 1, Math.max(0, at + direction))]?.focus()
}

document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, select, textarea, dialog')) return
  const key = event.key, after = before
  before = key === 'g' ? 'g' : ''
  if (after === 'g' && go[key]) location.assign(go[key])
  else if (key === '?') $('#keys').showModal()
  else if (key === '/' && $('[data-filter]')) { event.preventDefault(); $('[data-filter]').focus() }
  else if (key === 'j' || key === 'k') step(key === 'j' ? 1 : -1)
  else if (key === 'f' && log) log.follow()
})

// ---- begin ----

if ($('#log-box')) log = new Log($('#log-box'), refresh)
tick()
setInterval(tick, 1000)
listen()
