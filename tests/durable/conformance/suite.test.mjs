// The public suite, against the server that run.py started; vitest runs no tests that lie in node_modules.
import { runConformanceTests } from "@durable-streams/server-conformance-tests"

runConformanceTests({ baseUrl: process.env.CONFORMANCE_URL, longPollTimeoutMs: 500 })
