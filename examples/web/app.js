// The page of a customer. It talks only to its own server, which knows the customer.

const STATUSES = {
  healthy: { tone: "good", title: "Up to date" },
  partial: { tone: "good", title: "Partly up to date", text: "The bank sent no balance or no transactions." },
  syncing: { tone: "wait", title: "Updating", text: "We are fetching the newest data from your bank." },
  pending: { tone: "wait", title: "Linked", text: "We are waiting for the first data from your bank." },
  reauthorisation_required: {
    tone: "bad", title: "Your bank asks you to log in again", text: "Until then, you see old data.",
  },
  reauthorisation_pending: {
    tone: "wait", title: "You have logged in", text: "We are waiting for new data from your bank.",
  },
  bank_unavailable: { tone: "bad", title: "Your bank is not available", text: "We will try again. You see old data." },
  failed: { tone: "bad", title: "The last update failed", text: "We will try again. You see old data." },
  unlinked: { tone: "", title: "No longer linked", text: "You see old data. To update it, link the account again." },
};
const PENDING = ["syncing", "pending", "reauthorisation_pending"];
const REFRESHABLE = ["healthy", "partial", "bank_unavailable", "failed"];
const WORDS = {
  SYNC_COOLDOWN: "This account was updated a moment ago.",
  BUDGET_EXHAUSTED: "No more updates are possible today.",
  REAUTHORISATION_REQUIRED: "Your bank asks you to log in again.",
  SYNC_PROCESSING: "Your bank needs a little longer.",
  SYNC_FAILED: "Your bank could not update this account.",
  MONO_UNAVAILABLE: "The service is not available at present. Please try again later.",
  MONO_TIMEOUT: "Your bank did not answer in time. Please try again later.",
};
// In milliseconds.
const FAST = 2_000;
const SLOW = 15_000;
const SOON = 10_000;
const PATIENCE = 120_000;

const element = (id) => document.getElementById(id);
const messages = new Map(); // the message of the newest action on each account
const cards = new Map(); // the card of each account, and the data that it shows
let accounts = [];
let isLoaded = false;
let isBusy = false;
let timer;

// A return from the bank proves nothing. Only the list of accounts shows what happened.
const parameters = new URLSearchParams(location.search);
const before = JSON.parse(sessionStorage.getItem("before") ?? "{}");
let waitsForLink = parameters.has("linked");
let fastUntil = waitsForLink || parameters.has("reauthorised") ? Date.now() + PATIENCE : 0;
history.replaceState(null, "", location.pathname);

async function request(method, path) {
  const answer = await fetch(`/api${path}`, { method }).catch(() => null);
  const body = await answer?.json().catch(() => ({}));
  return { ok: answer?.ok ?? false, ...body };
}

function explain(answer) {
  const again = answer.next_allowed_at && ` You can try again at ${time(answer.next_allowed_at)}.`;
  return (WORDS[answer.code] ?? "This did not work. Please try again later.") + (again ?? "");
}

const time = (text) => new Date(text).toLocaleString("en-NG", { dateStyle: "medium", timeStyle: "short" });

/** The API has amounts in minor units. The currency determines how many minor units make a unit. */
function money(minor, currency) {
  if (minor === null) return "Balance unknown";
  try {
    const format = new Intl.NumberFormat("en-NG", { style: "currency", currency: currency ?? "NGN" });
    return format.format(minor / 10 ** format.resolvedOptions().maximumFractionDigits);
  } catch { // Mono's text is not always an ISO code.
    return `${currency} ${(minor / 100).toFixed(2)}`;
  }
}

const state = (account) => `${account.status} ${account.last_synced_at}`;

async function load() {
  clearTimeout(timer);
  const answer = await request("GET", "/accounts");
  show("outage", answer.ok ? "" : "Your accounts cannot be loaded at present. We will try again.");
  if (answer.ok) {
    accounts = answer.accounts;
    if (accounts.some((account) => state(account) !== before[account.account_id])) waitsForLink = false;
    render();
    isLoaded = true;
  }
  const isFast = Date.now() < fastUntil || accounts.some(({ status }) => PENDING.includes(status));
  element("waiting").hidden = !waitsForLink || Date.now() >= fastUntil;
  clearTimeout(timer);
  timer = setTimeout(load, isFast ? FAST : SLOW);
}

function show(id, text) {
  if (element(id).textContent !== text) element(id).textContent = text;
  element(id).hidden = !text;
}

function render() {
  element("empty").hidden = accounts.length > 0;
  const list = element("accounts");
  for (const [id, { card }] of cards) {
    if (!accounts.some((account) => account.account_id === id)) {
      card.remove();
      cards.delete(id);
    }
  }
  for (const account of accounts) {
    const old = cards.get(account.account_id);
    const text = JSON.stringify([account, messages.get(account.account_id), isBusy]);
    if (old?.text === text) continue;
    // The new card keeps the focus.
    const focused = old?.card.contains(document.activeElement) && document.activeElement.textContent;
    const card = toCard(account);
    if (old) old.card.replaceWith(card);
    else list.append(card);
    cards.set(account.account_id, { card, text, status: account.status });
    if (focused) [...card.querySelectorAll("button")].find((button) => button.textContent === focused)?.focus();
    if (isLoaded && old?.status !== account.status) {
      element("announcement").textContent = `${name(account)}: ${STATUSES[account.status]?.title}`;
    }
  }
}

const name = ({ bank, ending }) => [bank ?? "Bank account", ending && `ending in ${ending}`].filter(Boolean).join(" ");

/** Creates an element. All texts become text nodes, so none of them is read as HTML. */
function make(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter(Boolean));
  return made;
}

function toCard(account) {
  const { account_id: id, status, balance, currency, last_synced_at: synced } = account;
  const { tone, title, text } = STATUSES[status] ?? { tone: "", title: status };
  const button = (label, action, className = "") => {
    const made = make("button", { className, ariaDisabled: isBusy, onclick: action }, label);
    made.setAttribute("aria-label", `${label}: ${name(account)}`);
    return made;
  };
  const act = (method, path) => () => run(id, method, `/accounts/${id}${path}`);
  const ask = (question, action) => () => confirm(`${question}\n\n${name(account)}`) && action();
  const message = messages.get(id);
  return make("li", { className: "account" },
    make("div", { className: "top" },
      make("h2", {}, name(account)), make("p", { className: "balance" }, money(balance, currency))),
    make("p", { className: "synced" }, synced ? "Updated " : "Not updated yet",
      synced && make("time", { dateTime: synced }, time(synced))),
    make("p", { className: `status ${tone}` }, make("strong", {}, title), text),
    message && make("p", { className: "message" }, message),
    make("div", { className: "actions" },
      status === "reauthorisation_required" && button("Log in again", act("POST", "/reauthorise"), "primary"),
      status === "unlinked" && button("Link again", link, "primary"),
      REFRESHABLE.includes(status) && button("Refresh", act("POST", "/sync")),
      status !== "unlinked" && button("Unlink",
        ask("Unlink this account? It will no longer be updated.", act("POST", "/unlink"))),
      button("Delete",
        ask("Delete this account and all its transactions? This cannot be undone.", act("DELETE", "")), "danger")));
}

/** Runs one action at a time, and shows its result. No button is disabled, because it would lose the focus. */
async function run(id, method, path) {
  if (isBusy) return;
  isBusy = true;
  element("link").ariaDisabled = true;
  messages.delete(id);
  render();
  const answer = await request(method, path);
  isBusy = false;
  element("link").ariaDisabled = false;
  fastUntil = Math.max(fastUntil, Date.now() + SOON);
  // The API checks that the URL is a page of Mono.
  if (answer.ok && answer.url) {
    const states = accounts.map((account) => [account.account_id, state(account)]);
    sessionStorage.setItem("before", JSON.stringify(Object.fromEntries(states)));
    return location.assign(answer.url);
  }
  const message = answer.ok && answer.code !== "SYNC_PROCESSING" ? "" : explain(answer);
  if (id) messages.set(id, message);
  else show("error", message);
  element("announcement").textContent = message;
  return load();
}

const link = () => run(null, "POST", "/links");

element("link").onclick = link;
element("dismiss").onclick = () => {
  waitsForLink = false;
  load();
};
document.onvisibilitychange = () => (document.hidden ? clearTimeout(timer) : load());
load();
