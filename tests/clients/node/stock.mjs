// Asks port 8123 as any program with @clickhouse/client does, and prints what it got as JSON.
import { ClickHouseLogLevel, createClient } from '@clickhouse/client'

const labels = "SELECT toString(count()) FROM labels WHERE answer = 'a file'"
const said = {}

async function ask(mode, query, options = {}, client = {}) {
  const connection = createClient({
    url: process.argv[2], database: 'unjoin', log: { level: ClickHouseLogLevel.OFF }, ...client,
  })
  try {
    const answer = await connection.query({ query, format: 'JSONEachRow', ...options })
    said[mode] = Object.values((await answer.json())[0])[0]
  } catch (error) {
    said[mode] = `${error.code}: ${error.message}`
  }
  await connection.close()
}

await ask('defaults', labels)
await ask('bound', 'SELECT toString(count()) FROM labels WHERE answer = {a:String}', { query_params: { a: 'a file' } })
await ask('compression', labels, {}, { compression: { response: true, request: true } })
const ids = Array.from({ length: 5000 }, (_, number) => `event-${number}`)
await ask('long', 'SELECT toString(length({ids:Array(String)}))', { query_params: { ids } })
await ask('long form', 'SELECT toString(length({p:String}))', {
  query_params: { p: 'x'.repeat(200_000) }, use_multipart_params: true,
})
await ask('settings', "SELECT toString(getSetting('max_threads'))", {
  clickhouse_settings: { max_threads: 1, wait_end_of_query: 1 }, session_id: 's',
})
await ask('settings clause', "SELECT toString(getSetting('max_threads')) SETTINGS max_threads = 1")
await ask('refused', "SELECT file('/etc/passwd')")
console.log(JSON.stringify(said))
