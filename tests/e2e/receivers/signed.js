// A receiver of signed webhooks: it verifies them with the library of Standard Webhooks (Express).
const fs = require("node:fs");
const express = require("express");
const { Webhook } = require("standardwebhooks");

const { SECRET, PORT, LOG } = process.env;
const webhook = new Webhook(SECRET);

const app = express();
app.use(express.raw({ type: () => true, limit: "1mb" }));

app.post("/notify", (req, res) => {
  const body = req.body ?? Buffer.alloc(0);
  const accepted = verified(body, req.headers);
  record(accepted, req.headers, body);
  res.status(accepted ? 204 : 400).end();
});

function verified(body, headers) {
  try {
    webhook.verify(body, headers, { jsonParse: false });
    return true;
  } catch {
    return false;
  }
}

function record(accepted, headers, body) {
  fs.appendFileSync(LOG, JSON.stringify({ accepted, headers, body: body.toString("base64") }) + "\n");
}

const server = app.listen(PORT, "127.0.0.1", (error) => {
  if (error) throw error;
  console.log(`listening on ${server.address().port}`);
});
