// Runs the two clients that docs/start.md shows, one against the other: readme_client.py in Python,
// and readme_client.html on a page of three lines, and in Chromium where it is installed.

import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import { bounded, check, HOST, Queue, Report } from './check.mjs';
import { PORTS } from './nodes.mjs';

const PYTHON = process.env.CLIENTS_PYTHON ?? 'python3';
const CHROMIUM = process.env.CHROMIUM ?? 'chromium';
const URL_SHOWN = 'ws://127.0.0.1:8080/ws';
const URL_USED = `ws://${HOST}:${PORTS[0]}/ws`;
const SHOWN = ['event: 2,3', 'result: 5'];
const START_TIMEOUT_MS = 10_000;

const path = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url));
const page = await readFile(path('readme_client.html'), 'utf8');

async function withPython(test) {
  const child = spawn(PYTHON, [path('readme_client.py'), URL_USED], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const lines = new Queue();
  createInterface({ input: child.stdout }).on('line', (line) => lines.put(line));
  try {
    let line = '';
    while (!line.includes('answers calls')) {
      line = await bounded(lines.get(), 'start of readme_client.py', START_TIMEOUT_MS);
    }
    await test();
  } finally {
    child.kill();
    await new Promise((resolve) => child.on('exit', resolve));
  }
}

async function scriptAlone() {
  const [, script] = page.match(/<script>(.*)<\/script>/s);
  check(script.includes(URL_SHOWN), true, 'the page names the default address');
  const shown = new Queue();
  const document = { getElementById: () => ({ append: (text) => shown.put(text) }) };
  let socket;
  class PageSocket extends WebSocket {
    constructor(...args) {
      super(...args);
      socket = this;
    }
  }
  new Function('WebSocket', 'document', script.replace(URL_SHOWN, URL_USED))(PageSocket, document);
  check([await shown.get(), await shown.get()].sort(), SHOWN);
  socket.close();
}

/// The page as a web server serves it, with a line that reports what it shows.
async function inChromium() {
  const shown = new Queue();
  const observer = `new MutationObserver(() => fetch("/shown", { method: "POST",
    body: document.getElementById("log").textContent })).observe(
    document.getElementById("log"), { childList: true });`;
  const served = page.replace(URL_SHOWN, URL_USED).replace('</script>', `${observer}</script>`);
  const server = http.createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    if (request.method === 'POST') shown.put(body.trim().split('\n').sort());
    response.setHeader('content-type', 'text/html');
    response.end(request.url === '/' ? served : '');
  });
  await new Promise((resolve) => server.listen(0, HOST, resolve));
  const profile = await mkdtemp(join(tmpdir(), 'stentor-page-'));
  const options = ['--headless', '--no-sandbox', '--disable-gpu', `--user-data-dir=${profile}`];
  const address = `http://${HOST}:${server.address().port}/`;
  const browser = spawn(CHROMIUM, [...options, address], { stdio: 'ignore', detached: true });
  try {
    let lines = [];
    while (lines.length < SHOWN.length) lines = await shown.get();
    check(lines, SHOWN);
  } finally {
    process.kill(-browser.pid); // the group that was started here: Chromium is several processes
    await new Promise((resolve) => browser.on('exit', resolve));
    server.close();
    await rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}

const report = new Report();
await report.run('readme clients', () => withPython(scriptAlone));
if (spawnSync(CHROMIUM, ['--version']).status === 0) {
  await report.run('readme clients, in Chromium', () => withPython(inChromium));
} else {
  console.log('Chromium is not installed: the page was tested without a browser only');
}
report.close();
