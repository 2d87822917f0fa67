// Runs the two clients that the README shows, one against the other: readme_client.py in Python,
// and the script of readme_client.html on a page of three lines.

import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import { bounded, check, HOST, PORT, Queue, Report } from './check.mjs';

const PYTHON = process.env.CLIENTS_PYTHON ?? 'python3';
const URL_SHOWN = 'ws://127.0.0.1:8080/ws';
const URL_USED = `ws://${HOST}:${PORT}/ws`;

const path = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url));

function runPython() {
  const child = spawn(PYTHON, [path('readme_client.py'), URL_USED], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const lines = new Queue();
  createInterface({ input: child.stdout }).on('line', (line) => lines.put(line));
  return { child, lines };
}

async function runPage() {
  const html = await readFile(path('readme_client.html'), 'utf8');
  const [, script] = html.match(/<script>(.*)<\/script>/s);
  check(script.includes(URL_SHOWN), true, 'the page names the default address');
  const shown = new Queue();
  const page = { getElementById: () => ({ append: (text) => shown.put(text) }) };
  let socket;
  class PageSocket extends WebSocket {
    constructor(...args) {
      super(...args);
      socket = this;
    }
  }
  new Function('WebSocket', 'document', script.replace(URL_SHOWN, URL_USED))(PageSocket, page);
  return { shown, close: () => socket.close() };
}

async function readme() {
  const python = runPython();
  try {
    let line = '';
    while (!line.includes('answers calls')) line = await bounded(python.lines.get(), 'python', 10_000);
    const page = await runPage();
    const seen = [await page.shown.get(), await page.shown.get()].sort();
    check(seen, ['event: 2,3', 'result: 5']);
    page.close();
  } finally {
    python.child.kill();
  }
}

const report = new Report();
await report.run('readme clients', readme);
report.close();
