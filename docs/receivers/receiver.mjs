// Stores each event that ticket-webhooks forwards once, a file in ./events: WEBHOOK_SECRET=whsec_… node receiver.mjs
import { createHmac, timingSafeEqual } from 'node:crypto'
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { buffer } from 'node:stream/consumers'

const secrets = (process.env.WEBHOOK_SECRET ?? '').split(/[\s,]+/).filter(Boolean) // two while one replaces the other
const keys = secrets.map((secret) => Buffer.from(secret.replace(/^whsec_/, ''), 'base64'))
if (!keys.length || keys.some((key) => key.length < 24)) {
  throw new Error('WEBHOOK_SECRET: expected whsec_ and at least 24 bytes in base64')
}
const equal = (a, b) => a.length === b.length && timingSafeEqual(a, b)
mkdirSync('events', { recursive: true, mode: 0o700 }) // the events name passengers: no other user may read them
const directories = [openSync('.'), openSync('events')]

// Synchronous, so that no two requests store at the same time. The name of the file is the key.
function store(id, body) {
  const file = `events/${id}.json`
  if (!existsSync(file)) { // a repetition changes nothing
    const opened = openSync(`${file}.new`, 'w')
    writeFileSync(opened, body)
    fsyncSync(opened)
    closeSync(opened)
    renameSync(`${file}.new`, file)
  }
  directories.forEach((directory) => fsyncSync(directory)) // what is stored survives a power failure
}

const server = createServer(async (request, response) => {
  const { headers } = request
  const answer = (status) => response.writeHead(status).end()
  try {
    if (!(headers['content-length'] <= 4 << 20)) return answer(413) // anybody can send before the signature is checked
    const body = await buffer(request)
    const [id, sentAt] = [headers['webhook-id'], headers['webhook-timestamp']]
    const sign = (key) => createHmac('sha256', key).update(`${id}.${sentAt}.`).update(body).digest('base64')
    const expected = keys.map((key) => Buffer.from(`v1,${sign(key)}`))
    const given = (headers['webhook-signature'] ?? '').split(' ').map((signature) => Buffer.from(signature))
    const isSigned = given.some((a) => expected.some((b) => equal(a, b)))
    if (!isSigned || !(Math.abs(Date.now() / 1000 - sentAt) <= 300)) return answer(401)
    if (!/^[\w-]+$/.test(id)) return answer(400) // it is no name of a file
    store(id, body)
    answer(204) // only now: what is answered with 2xx is not sent again
  } catch (error) {
    console.error(error)
    answer(500)
  }
})
server.listen(process.env.PORT ?? 4242, '127.0.0.1', () => {
  console.log(`receives on http://127.0.0.1:${server.address().port}/`)
})
