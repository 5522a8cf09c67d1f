// A receiver of Mono's webhooks that compares the secret in the header (Express).
const fs = require("node:fs");
const express = require("express");

const { SECRET, PORT, LOG } = process.env;
if (!SECRET) throw new Error("SECRET is not set");

const app = express();
app.use(express.raw({ type: () => true, limit: "1mb" }));

app.post("/mono", (req, res) => {
  const accepted = req.headers["mono-webhook-secret"] === SECRET;
  record(accepted, req.headers, req.body ?? Buffer.alloc(0));
  if (!accepted) {
    return res.status(401).json({ message: "Unauthorized request." });
  }
  res.json({ status: "ok" });
});

function record(accepted, headers, body) {
  fs.appendFileSync(LOG, JSON.stringify({ accepted, headers, body: body.toString("base64") }) + "\n");
}

const server = app.listen(PORT, "127.0.0.1", (error) => {
  if (error) throw error;
  console.log(`listening on ${server.address().port}`);
});
