// The yardstick: a bare node:http server that reads the body, parses it, and answers a fixed JSON document. As fast as
// any server on this runtime can be that does nothing. Prints its port.
import { createServer } from "node:http";

const data = { data: { password: "x".repeat(64) }, metadata: { version: 1, custom_metadata: null, destroyed: false } };
const server = createServer((message, response) => {
  const chunks: Buffer[] = [];
  message.on("data", (chunk: Buffer) => chunks.push(chunk));
  message.on("end", () => {
    if (chunks.length > 0) JSON.parse(Buffer.concat(chunks).toString("utf8"));
    const body = JSON.stringify({
      request_id: "0",
      lease_id: "",
      renewable: false,
      lease_duration: 0,
      data,
      auth: null,
    });
    response
      .writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) })
      .end(body);
  });
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (typeof address === "object" && address !== null) console.log(`listening ${address.port}`);
});
