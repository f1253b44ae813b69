// The log: fetched by byte offset, so that nothing is lost or repeated; only the lines in sight are in the page.

const ROW = 20
const AROUND = 40
const LONGEST = 4000
const ESCAPE = /\x1b(?:\[([0-?]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])/g
const CONTROL = /[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]/g

// SGR (ECMA-48): which classes are on after a colour sequence
function colours(on, parameters) {
  let next = on
  const codes = parameters.split(';').map(Number)
  for (let at = 0; at < codes.length; at++) {
    const code = codes[at]
    if (code === 0) next = ''
    else if (code === 38 || code === 48) at += codes[at + 1] === 5 ? 2 : 4  // 256 colours and more: kept plain
    else if ([1, 2, 3, 4, 9].includes(code)) next = without(next, `a${code}`) + ` a${code}`
    else if (code === 22) next = without(without(next, 'a1'), 'a2')
    else if ([23, 24, 29].includes(code)) next = without(next, `a${code - 20}`)
    else if (code === 39) next = without(next, 'a3\\d')
    else if (code === 49) next = without(next, 'b4\\d')
    else if (code >= 30 && code <= 37) next = `${without(next, 'a3\\d')} a${code}`
    else if (code >= 90 && code <= 97) next = `${without(next, 'a3\\d')} a${code - 60}`
    else if (code >= 40 && code <= 47) next = `${without(next, 'b4\\d')} b${code}`
  }
  return next.trim()
}

const without = (classes, name) => classes.split(' ').filter(each => each && !new RegExp(`^${name}$`).test(each)).join(' ')

// What a terminal would show of a line: after a carriage return it is written over
function visible(line) {
  const text = line.endsWith('\r') ? line.slice(0, -1) : line
  const back = text.lastIndexOf('\r')
  return back < 0 ? text : text.slice(back + 1)
}

function kind(text) {
  if (/^\s*not ok\b/.test(text) && !/#\s*(todo|skip)/i.test(text)) return ' no'
  if (text.startsWith('toto: ')) return ' own'
  return /^\s*ok\b/.test(text) ? ' ok' : ''
}

export class Log {
  constructor(box, changed) {
    this.box = box
    this.changed = changed
    this.view = box.querySelector('#log')
    this.about = box.querySelector('#log-about')
    this.button = box.querySelector('#log-follow')
    this.pinned = 'pinned' in box.dataset
    this.view.addEventListener('scroll', () => this.scrolled())
    this.button.addEventListener('click', () => this.follow())
    addEventListener('resize', () => this.draw())
    addEventListener('hashchange', () => this.jump())
    this.show(box.dataset.stage)
  }

  show(stage) {
    if (this.stage === stage) return
    this.stage = stage
    this.offset = 0
    this.length = 0
    this.begin()
    this.box.querySelector('#log-whole').href = this.box.dataset.whole.replace('STAGE', stage)
    this.view.setAttribute('aria-label', `Log of ${stage}`)
    this.pull()
  }

  begin() {
    this.lines = []
    this.starts = new Map()  // colours that a line inherits from the one before
    this.on = ''
    this.rest = ''
    this.decoder = new TextDecoder()
    this.following = !this.line()
    this.space = null
  }

  // A new stage runs: the page goes along, unless somebody chose a stage
  run(run) {
    const running = run.stages.find(stage => stage.state === 'running')
    if (running && !this.pinned && running.name !== this.stage) {
      this.show(running.name)
      this.changed()
    }
  }

  grown({ stage, length }) {
    if (stage === this.stage && length !== this.offset) this.pull()
  }

  async pull() {
    if (this.pulling) { this.again = true; return }
    this.pulling = true
    try {
      do {
        this.again = false
        await this.pieces(this.stage)
      } while (this.again)
    } catch {
      setTimeout(() => this.pull(), 2000)  // from where we are: an offset counts only when its bytes have come
    } finally {
      this.pulling = false
    }
  }

  async pieces(stage) {
    for (;;) {
      const answer = await fetch(`${this.box.dataset.log.replace('STAGE', stage)}?offset=${this.offset}`)
      if (!answer.ok) throw new Error(`${answer.status}`)
      const bytes = new Uint8Array(await answer.arrayBuffer())
      if (stage !== this.stage) { this.again = true; return }
      this.length = Number(answer.headers.get('Toto-Log-Length'))
      if (Number(answer.headers.get('Toto-Log-Offset')) !== this.offset) {  // it is another, shorter log now
        this.offset = 0
        this.begin()
        continue
      }
      this.offset += bytes.length
      this.add(this.decoder.decode(bytes, { stream: true }))
      if (!bytes.length || this.offset >= this.length) return
    }
  }

  add(text) {
    const parts = (this.rest + text).split('\n')
    this.rest = parts.pop()
    for (const part of parts) this.keep(part)
    this.draw()
  }

  keep(line) {
    if (this.on) this.starts.set(this.lines.length, this.on)
    if (line.includes('\x1b['))
      for (const [, parameters, end] of line.matchAll(ESCAPE)) if (end === 'm') this.on = colours(this.on, parameters ?? '')
    this.lines.push(line)
  }

  get count() { return this.lines.length + (this.rest ? 1 : 0) }

  draw() {
    if (!this.count) { this.nothing(); return }
    if (!this.space) this.build()
    this.space.style.height = `${this.count * ROW + 16}px`
    if (this.following) this.view.scrollTop = this.view.scrollHeight
    const first = Math.max(0, Math.floor(this.view.scrollTop / ROW) - AROUND)
    const last = Math.min(this.count, first + Math.ceil(this.view.clientHeight / ROW) + 2 * AROUND)
    this.body.style.top = `${first * ROW + 8}px`
    this.body.replaceChildren(...Array.from({ length: last - first }, (_, at) => this.row(first + at)))
    this.about.textContent = `· ${this.count.toLocaleString('en')} ${this.count === 1 ? 'line' : 'lines'}${this.following && document.body.dataset.live ? ' · following' : ''}`
    this.button.hidden = this.following
    if (!this.jumped && this.line() && this.line() <= this.count) this.jump()
  }

  nothing() {
    const said = document.createElement('p')
    said.className = 'nothing'
    said.textContent = document.body.dataset.live ? 'Nothing printed yet.' : 'Nothing printed.'
    this.view.replaceChildren(said)
    this.about.textContent = ''
    this.button.hidden = true
  }

  build() {
    this.space = document.createElement('div')
    this.space.className = 'space'
    this.body = document.createElement('div')
    this.body.className = 'lines'
    this.space.append(this.body)
    this.view.replaceChildren(this.space)
  }

  row(at) {
    const raw = this.lines[at] ?? this.rest
    const row = document.createElement('div'), number = document.createElement('a'), text = document.createElement('span')
    number.href = `#L${at + 1}`
    number.textContent = at + 1
    this.paint(text, visible(raw), this.starts.get(at) ?? (at === this.lines.length ? this.on : ''))
    row.className = `l${kind(text.textContent)}${this.line() === at + 1 ? ' mark' : ''}`
    row.append(number, text)
    return row
  }

  // Only text nodes and classes of our own are made: nothing that a log holds becomes markup
  paint(into, line, on) {
    const cut = line.length > LONGEST ? line.slice(0, LONGEST) : line
    let from = 0
    const put = text => {
      if (!text) return
      const span = on ? document.createElement('span') : null
      if (span) span.className = on
      const node = document.createTextNode(text.replace(CONTROL, '�'))
      if (span) span.append(node)
      into.append(span ?? node)
    }
    for (const match of cut.matchAll(ESCAPE)) {
      put(cut.slice(from, match.index))
      from = match.index + match[0].length
      if (match[2] === 'm') on = colours(on, match[1] ?? '')
    }
    put(cut.slice(from).replaceAll('\x1b', ''))
    if (cut !== line) into.append(` … ${(line.length - LONGEST).toLocaleString('en')} more characters; see it as text`)
  }

  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.view
    const bottom = scrollTop + clientHeight >= scrollHeight - ROW
    if (bottom !== this.following && this.space) this.following = bottom
    if (!this.drawing) this.drawing = requestAnimationFrame(() => { this.drawing = 0; this.draw() })
  }

  follow() {
    this.following = true
    this.draw()
  }

  line() {
    return Number(/^#L(\d{1,9})$/.exec(location.hash)?.[1] ?? 0)
  }

  jump() {
    const line = this.line()
    if (!line || line > this.count) return
    this.jumped = true
    this.following = false
    this.view.scrollTop = Math.max(0, (line - 6) * ROW)
    this.draw()
  }
}
