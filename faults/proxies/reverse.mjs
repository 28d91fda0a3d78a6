// Node's own HTTP server and client as a reverse proxy; the agent keeps connections to the collector for reuse.
import http from "node:http";

const [target, port] = process.argv.slice(2);
const { hostname, port: targetPort } = new URL(target);
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
const server = http.createServer((request, response) => {
  if (/^\/(metrics|readyz)/.test(request.url)) return response.writeHead(403).end();
  const { method, url, headers } = request;
  const onward = http.request({ hostname, port: targetPort, method, path: url, headers, agent }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on("error", () => (response.headersSent ? response.destroy() : response.writeHead(502).end()));
  // Of requests sent ahead, Node tells only the first that its client has gone.
  const gone = () => onward.destroy();
  request.socket.once("close", gone);
  response.on("finish", () => request.socket.off("close", gone));
  request.pipe(onward);
});
server.listen(Number(port), "127.0.0.1", () => console.log("ready"));
