// Bun's WebSocket publish as a peer of `stentor-loadtest compare`:
// bun loadtest/peers/bun.js PORT [CERTIFICATE KEY] [--deflate], with TLS if those files are named.
// What comes in at /publish/TOPIC goes out to everybody at /subscribe/TOPIC.
const words = process.argv.slice(2);
const deflate = words.includes("--deflate");
const [port = "3000", certificate, key] = words.filter((word) => word !== "--deflate");
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(port),
  tls: certificate ? { cert: Bun.file(certificate), key: Bun.file(key) } : undefined,
  fetch(request, server) {
    const [, role, topic] = new URL(request.url).pathname.split("/");
    if (server.upgrade(request, { data: { role, topic } })) return;
    return new Response("only WebSocket is served here", { status: 426 });
  },
  websocket: {
    perMessageDeflate: deflate && { compress: "shared", decompress: "shared" },
    idleTimeout: 0,
    maxPayloadLength: 16 << 20,
    backpressureLimit: 64 << 20,
    open(socket) {
      if (socket.data.role === "subscribe") socket.subscribe(socket.data.topic);
      socket.send("ready"); // From here on the client is owed what is published.
    },
    message(socket, message) {
      server.publish(socket.data.topic, message, deflate);
    },
  },
});
