// Calls of a stock SDK, as a server would make them: node calls.mjs segment|rudderstack HOST KEY MARK COUNT
const [sdk, host, key, mark, count] = process.argv.slice(2);
const failed = [];
const calls = {};

function callsOf(number) {
  const userId = `${mark}-${number % 7}`;
  const people = { name: `N ${number}`, email: `n${number}@acme.example`, country: "DE" };
  return [
    ["track", { userId, event: "Opened", properties: { number, nested: { list: [1, null, "é"] } } }],
    ["track", { anonymousId: `${mark}-visitor`, userId, event: "Read" }],
    ["page", { userId, name: "Docs", category: "Help", properties: { url: `https://a.example/${number}`, number } }],
    ["screen", { anonymousId: `${mark}-visitor`, name: "Start" }],
    ["identify", { userId, traits: people }],
    ["group", { userId, groupId: "g-1", traits: { plan: "free" } }],
    ["alias", { userId, previousId: `${mark}-before` }],
  ];
}

function make(client) {
  for (let number = 0; number < Number(count); number += 1) {
    for (const [kind, message] of callsOf(number)) {
      client[kind](message, (error) => error && failed.push(`${kind}: ${error}`));
      calls[kind] = (calls[kind] ?? 0) + 1;
    }
  }
}

if (sdk === "segment") {
  const { Analytics } = await import("@segment/analytics-node");
  const client = new Analytics({ writeKey: key, host });
  client.on("error", (error) => failed.push(`${error.code}: ${error.reason}`));
  make(client);
  await client.closeAndFlush({ timeout: 60_000 });
} else {
  const { default: Analytics } = await import("@rudderstack/rudder-sdk-node");
  const client = new Analytics(key, { dataPlaneUrl: host, logLevel: "none" });
  make(client);
  while (client.queue.length) await client.flush();
  await client.flush();
}
console.log(JSON.stringify({ calls, failed }));
process.exit(0);
