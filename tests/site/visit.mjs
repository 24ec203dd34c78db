// Open every page of a built site in headless Chromium and write down, as JSON, what is to be seen there.
//
//   node visit.mjs SITE_FOLDER REPORT.json [--search WORD] [--screenshots FOLDER] [--only PART_OF_A_PATH]
//
// It judges nothing: site_checks.py does. Each page is opened over http at 1280 and 390 pixels, in light and in dark,
// and once more as a file. Whatever lies outside the site is refused, and written down.
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, relative, resolve, sep } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import puppeteer from "puppeteer-core";
import * as inPage from "./in_page.mjs";
import { serve } from "./serve.mjs";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const WIDTHS = {
  desktop: { width: 1280, height: 900 },
  phone: { width: 390, height: 844, isMobile: true, hasTouch: true },
};
const CHROMIUM = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions",
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

const { positionals: [folder, output], values: options } = parseArgs({
  allowPositionals: true,
  options: { search: { type: "string" }, screenshots: { type: "string" }, only: { type: "string" } },
});
const site = resolve(folder);
const executablePath = CHROMIUM.find((path) => path && existsSync(path));
if (!executablePath) throw new Error("expected a Chromium; got none; try: set CHROMIUM to the path of its program");

async function htmlFiles(root) {
  const files = await readdir(root, { recursive: true });
  return files.filter((file) => file.endsWith(".html") && !/(^|[\\/])_(static|sources)[\\/]/.test(file))
    .map((file) => file.split(sep).join("/")).sort();
}

// Watch one tab: what it asks for, what fails, what it complains about, how many bytes come over the wire.
async function watched(browser, origin, viewport) {
  const page = await browser.newPage();
  const seen = { requests: [], outside: [], failed: [], errors: [], bytes: {} };
  const inside = (url) => url.startsWith(`${origin}/`) || /^(data|blob|about):/.test(url);
  await page.setViewport(viewport);
  await page.setCacheEnabled(false);
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "light" },
    { name: "prefers-reduced-motion", value: "reduce" }]);
  await page.setRequestInterception(true);
  page.on("request", (request) => {
    const url = request.url();
    if (inside(url)) return seen.requests.push(url), request.continue();
    seen.outside.push(url);
    request.abort();
  });
  page.on("response", (response) => response.status() >= 400 && seen.failed.push(`${response.status()} ${response.url()}`));
  page.on("requestfailed", (request) => inside(request.url()) && seen.failed.push(request.url()));
  page.on("console", (message) => message.type() === "error" && seen.errors.push(message.text()));
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  const wire = await page.createCDPSession();
  const urls = new Map();
  await wire.send("Network.enable");
  wire.on("Network.requestWillBeSent", ({ requestId, request }) => urls.set(requestId, request.url));
  wire.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
    const url = urls.get(requestId) ?? "";
    if (url.startsWith("http")) seen.bytes[url] = (seen.bytes[url] ?? 0) + encodedDataLength;
  });
  return { page, seen, wire };
}

async function scheme(page, value) {
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value }, { name: "prefers-reduced-motion", value: "reduce" }]);
  await page.evaluate(() => new Promise((done) => setTimeout(done, 120)));
}

async function accessibility(page, rules) {
  await page.evaluate(AXE);
  return page.evaluate(inPage.axe, rules);
}

async function shoot(page, name) {
  if (!options.screenshots) return;
  await mkdir(options.screenshots, { recursive: true });
  const viewport = page.viewport();
  const height = Math.min(await page.evaluate(() => document.documentElement.scrollHeight), 16000);
  await page.setViewport({ ...viewport, height });
  await page.screenshot({ path: join(options.screenshots, `${name.replaceAll("/", "-")}.png`), captureBeyondViewport: false });
  await page.setViewport(viewport);
}

async function look(browser, origin, path, width) {
  const { page, seen } = await watched(browser, origin, WIDTHS[width]);
  await page.goto(`${origin}/${path}`, { waitUntil: "networkidle0", timeout: 60000 });
  const name = `${path.replace(/\.html$/, "")}-${width}`;
  const facts = await page.evaluate(inPage.facts, WIDTHS[width].width);
  await shoot(page, `${name}-light`);
  const axe = { light: await accessibility(page, null) };
  await scheme(page, "dark");
  await shoot(page, `${name}-dark`);
  axe.dark = await accessibility(page, ["color-contrast", "link-in-text-block"]);
  await page.close();
  return { ...seen, ...facts, axe };
}

async function openAsFile(browser, path) {
  const root = pathToFileURL(site).href;
  const { page, seen } = await watched(browser, root, WIDTHS.desktop);
  await page.goto(`${root}/${path}`, { waitUntil: "load", timeout: 60000 });
  await page.close();
  return seen;
}

// The first element that can be clicked now, or null.
async function shown(page, selector) {
  for (const element of await page.$$(selector)) if (await element.isVisible()) return element;
  return null;
}

// What only a hand can find out: does it work when used? null: the site has no such thing.
// Results come one by one: wait for the first, then until no more come.
async function results(page) {
  const links = () => page.$$eval("#search-results li a", (found) => found.map((link) => link.href));
  await page.waitForSelector("#search-results li a", { timeout: 8000 }).catch(() => null);
  for (let before = -1, now = (await links()).length; now > before; before = now, now = (await links()).length)
    await new Promise((done) => setTimeout(done, 300));
  return links();
}

async function search(browser, origin, word) {
  if (!word || !existsSync(join(site, "search.html"))) return null;
  const { page, seen } = await watched(browser, origin, WIDTHS.desktop);
  await page.goto(`${origin}/search.html?q=${encodeURIComponent(word)}`, { waitUntil: "load" });
  const found = await results(page);
  await page.close();
  return { found, ...seen };
}

async function searchByHand(browser, origin, path, word) {
  const { page } = await watched(browser, origin, WIDTHS.phone);
  await page.goto(`${origin}/${path}`, { waitUntil: "networkidle0" });
  const button = word && (await shown(page, ".search-button__button"));
  if (!button) return page.close(), null;
  await button.click();
  await page.waitForSelector("#pst-search-dialog[open] input", { timeout: 5000 });
  await page.type("#pst-search-dialog input", word);
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  const found = await results(page);
  await page.close();
  return { found };
}

async function colourMode(browser, origin, path) {
  const { page } = await watched(browser, origin, WIDTHS.desktop);
  await page.goto(`${origin}/${path}`, { waitUntil: "networkidle0" });
  const button = await shown(page, ".theme-switch-button");
  if (!button) return page.close(), null;
  const states = [await page.evaluate(inPage.colours)];
  for (let press = 0; press < 6 && (press < 3 || states.at(-1).mode !== "dark"); press++) {
    await button.click();
    states.push(await page.evaluate(inPage.colours));
  }
  await page.reload({ waitUntil: "networkidle0" });
  const reloaded = await page.evaluate(inPage.colours);
  await page.close();
  return { states, reloaded };
}

async function menu(browser, origin, path) {
  const { page } = await watched(browser, origin, WIDTHS.phone);
  await page.goto(`${origin}/${path}`, { waitUntil: "networkidle0" });
  if (!(await page.$(".primary-toggle"))) return page.close(), null;
  const before = await page.evaluate(inPage.visibleMenuLinks);
  const button = await shown(page, ".primary-toggle");
  if (button) await button.tap();
  await page.evaluate(() => new Promise((done) => setTimeout(done, 500)));
  const after = await page.evaluate(inPage.visibleMenuLinks);
  if (options.screenshots) await page.screenshot({ path: join(options.screenshots, "menu-phone.png") });
  await page.close();
  return { before, after };
}

async function download(browser, origin, path) {
  const { page, wire } = await watched(browser, origin, WIDTHS.desktop);
  const target = await mkdtemp(join(tmpdir(), "download-"));
  await wire.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: target });
  await page.goto(`${origin}/${path}`, { waitUntil: "networkidle0" });
  const link = await shown(page, ".lab-download");
  if (link) await link.click();
  const finished = () => readdirSync(target).find((name) => !name.endsWith(".crdownload"));
  for (let wait = 0; link && wait < 50 && !finished(); wait++) await new Promise((done) => setTimeout(done, 100));
  const name = finished() ?? null;
  const text = name ? await readFile(join(target, name), "utf8") : null;
  await page.close();
  await rm(target, { recursive: true });
  return { name, text };
}

const profile = await mkdtemp(join(tmpdir(), "site-checks-"));
const server = await serve(site);
const browser = await puppeteer.launch({ executablePath, args: FLAGS, userDataDir: profile, headless: true });
try {
  const { origin } = server;
  const report = { origin, pages: {}, redirects: {}, downloads: {} };
  for (const path of await htmlFiles(site)) {
    if (options.only && !path.includes(options.only)) continue;
    const refresh = (await readFile(join(site, path), "utf8")).match(/http-equiv="refresh" content="\d+; *url=([^"]+)"/i);
    if (refresh) {
      report.redirects[path] = refresh[1];
      continue;
    }
    const page = { file: await openAsFile(browser, path) };
    for (const width of Object.keys(WIDTHS)) page[width] = await look(browser, origin, path, width);
    report.pages[path] = page;
    if (page.desktop.lesson) report.downloads[path] = await download(browser, origin, path);
  }
  const first = report.redirects["index.html"] ?? Object.keys(report.pages).find((path) => path.endsWith("index.html"))
    ?? Object.keys(report.pages)[0];
  report.search = { http: await search(browser, origin, options.search),
    file: await search(browser, pathToFileURL(site).href, options.search),
    hand: await searchByHand(browser, origin, first, options.search) };
  report.colourMode = await colourMode(browser, origin, first);
  report.menu = await menu(browser, origin, first);
  await writeFile(output, JSON.stringify(report, null, 1));
  console.log(`${Object.keys(report.pages).length} pages of ${relative(process.cwd(), site) || "."} → ${output}`);
} finally {
  await browser.close();
  server.close();
  await rm(profile, { recursive: true, force: true });
}
