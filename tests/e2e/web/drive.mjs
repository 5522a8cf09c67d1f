// Uses the page of examples/web in a real browser, as a customer does:
//
//     node drive.mjs PAGE_URL SANDBOX_URL SCREENSHOT
//
// The customer of the page must have no accounts, and the sandbox must have hosted pages. On Linux on x86-64, the test
// brings its own browser. On other platforms, it uses an installed Chrome. Without one, nothing is tested.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

// The exit code of a test that did not run.
const SKIPPED = 77;
const [pageUrl, sandboxUrl, screenshot] = process.argv.slice(2);
const require = createRequire(new URL("../../../.venv/browser/", import.meta.url));
const { chromium } = require("playwright-core");

async function launch() {
  if (process.platform === "linux" && process.arch === "x64") {
    // With this variable, the package also unpacks the libraries and the fonts of the browser.
    process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs24.x";
    const executablePath = await require("@sparticuz/chromium").default.executablePath();
    // The package's own configuration expects the fonts in /tmp.
    const folder = dirname(executablePath);
    process.env.FONTCONFIG_FILE = `${folder}/fonts.conf`;
    writeFileSync(process.env.FONTCONFIG_FILE, `<fontconfig><dir>${folder}/fonts</dir></fontconfig>`);
    return chromium.launch({ executablePath, args: ["--no-zygote", "--font-render-hinting=none"] });
  }
  return chromium.launch({ channel: "chrome" }).catch(() => {
    console.error("Chrome is not installed.");
    process.exit(SKIPPED);
  });
}

const browser = await launch();
const context = await browser.newContext({ viewport: { width: 800, height: 640 }, locale: "en-NG" });
context.setDefaultTimeout(60_000);
await context.addInitScript(() => {
  const report = (event) => console.error(`violation of ${event.violatedDirective}: ${event.blockedURI}`);
  document.addEventListener("securitypolicyviolation", report);
});
const page = await context.newPage();
const errors = [];
page.on("pageerror", (error) => errors.push(String(error)));
page.on("console", (message) => {
  // The browser also reports the expected refusal during the cooldown.
  const isCooldown = message.text().includes("429") && message.location().url.endsWith("/sync");
  if (message.type() === "error" && !isCooldown) errors.push(message.text());
});
page.on("dialog", (dialog) => dialog.accept());

const shown = (text) => page.getByText(text, { exact: true }).waitFor();
const card = (bank) => page.getByRole("listitem").filter({ hasText: bank });
const shows = (bank, text) => card(bank).getByText(text, { exact: true }).waitFor();
const press = (bank, label) => card(bank).getByRole("button", { name: label }).click();
const hostedPage = () => page.waitForURL((url) => url.href.startsWith(`${sandboxUrl}/hosted/`));
const ownPage = () => page.waitForURL(`${pageUrl}/`);

async function startLink() {
  await page.getByRole("button", { name: "Link a bank account" }).click();
  await hostedPage();
}

async function link(bank) {
  await startLink();
  assert.equal(await page.title(), "Stand-in for Mono");
  await page.getByLabel("Your bank").selectOption(bank);
  await page.getByRole("button", { name: "Log in" }).click();
  await ownPage();
  await shows(bank, "Up to date");
  assert.equal(await page.getByText("We are waiting for the bank.").isVisible(), false);
}

async function fitsOnPhones() {
  const desktop = page.viewportSize();
  for (const width of [320, 390]) {
    await page.setViewportSize({ width, height: 844 });
    const widest = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(widest <= width, `the page is ${widest} px wide on a screen of ${width} px`);
  }
  await page.screenshot({ path: screenshot.replace(/\.png$/, "-phone.png"), fullPage: true });
  await page.setViewportSize(desktop);
}

// A cancelled link leaves no account.
const [first, second] = ["First Sandbox Bank", "Pretend Trust Bank"];
await page.goto(pageUrl);
await shown("No account is linked yet.");
await startLink();
await page.getByRole("link", { name: "Cancel" }).click();
await ownPage();
await shown("We are waiting for the bank.");
await page.getByRole("button", { name: "Close" }).click();
await page.getByText("We are waiting for the bank.").waitFor({ state: "hidden" });
await shown("No account is linked yet.");
assert.equal(await page.getByRole("listitem").count(), 0);

await link(first);
await link(second);
assert.match(await card(first).textContent(), /ending in \d{4}₦[\d,]+\.\d\d/);

// The bank requires re-authorisation.
const { accounts } = await page.evaluate(async () => (await fetch("/api/accounts")).json());
const { account_id } = accounts.find(({ bank }) => bank === first);
const refresh = { method: "POST", body: JSON.stringify({ outcome: "reauthorisation_required" }) };
assert.ok((await fetch(`${sandboxUrl}/control/accounts/${account_id}/refresh`, refresh)).ok);
const banner = card(first).getByText("Your bank asks you to log in again", { exact: true });
for (let attempt = 0; !(await banner.isVisible()); attempt += 1) {
  assert.ok(attempt < 60, "the page shows that the bank requires re-authorisation");
  await sleep(500);
  await page.reload();
  await card(first).waitFor();
}
await shows(second, "Up to date");
await page.screenshot({ path: screenshot });
await fitsOnPhones();
await press(first, "Log in again");
await hostedPage();
await page.getByLabel("One-time password").fill("123456");
await page.getByRole("button", { name: "Confirm" }).click();
await ownPage();
await shows(first, "Up to date");

// Only the first of two refreshes reaches Mono.
const balance = () => card(first).locator(".balance").textContent();
const old = await balance();
await press(first, "Refresh");
for (let attempt = 0; (await balance()) === old; attempt += 1) {
  assert.ok(attempt < 120, "the refresh brings a new balance");
  await sleep(500);
}
await press(first, "Refresh");
await card(first).getByText("This account was updated a moment ago.").waitFor();

await press(first, "Unlink");
await shows(first, "No longer linked");
await card(first).getByRole("button", { name: "Link again" }).waitFor();
for (const bank of [first, second]) {
  await press(bank, "Delete");
  await card(bank).waitFor({ state: "detached" });
}
await shown("No account is linked yet.");
assert.deepEqual(errors, []);
await browser.close();
console.log("passed");
