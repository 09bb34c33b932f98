// One use of the official client: `node client.mjs URL USE [MORE…]`. What came of it is printed as JSON.
import { DurableStream, IdempotentProducer, stream } from "@durable-streams/client"

const [url, use, ...more] = process.argv.slice(2)
const patient = { logWarnings: false, minConnectionDuration: 0, backoffBaseDelay: 1, backoffMaxDelay: 20 }

const uses = {
  // Create, append with and without a claim, be fenced off, close; what is there then.
  async write() {
    const handle = await DurableStream.create({ url, contentType: "application/json" })
    await handle.append(JSON.stringify(0))
    const options = { epoch: 0, lingerMs: 1, maxBatchBytes: 40 }
    const zombie = new IdempotentProducer(handle, "writer", options)
    for (let number = 1; number < 100; number++) zombie.append(JSON.stringify(number))
    await zombie.flush()
    const producer = new IdempotentProducer(handle, "writer", { ...options, epoch: 1 })
    producer.append(JSON.stringify(100))
    await producer.flush()
    let refused = null
    const late = new IdempotentProducer(handle, "writer", { ...options, onError: (error) => (refused = error.name) })
    late.append(JSON.stringify("late"))
    await late.flush()
    const { finalOffset } = await producer.close(JSON.stringify(101))
    const found = await (await stream({ url, live: false })).json()
    return { found, refused, finalOffset }
  },

  // Follow to the end; whenever that breaks off, go on from the offset of the last batch.
  async follow(live) {
    const found = []
    let offset = "-1"
    let closed = false
    while (!closed) {
      const response = await stream({ url, offset, live, sseResilience: patient })
      response.subscribeJson((batch) => {
        found.push(...batch.items)
        offset = batch.offset
        closed = batch.streamClosed
      })
      await response.closed.catch(() => null)
    }
    return { found, offset }
  },

  // A text to its end, and a binary stream as events.
  async bytes() {
    const handle = await DurableStream.create({ url, contentType: "application/octet-stream" })
    const data = Uint8Array.from({ length: 256 }, (_, number) => number)
    await handle.append(data)
    await handle.close()
    const chunks = []
    const response = await stream({ url, live: "sse" })
    for await (const chunk of response.bodyStream()) chunks.push(...chunk)
    return { found: chunks }
  },
}

console.log(JSON.stringify(await uses[use](...more)))
process.exit(0)
