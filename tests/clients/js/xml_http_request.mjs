// The part of a browser's XMLHttpRequest that autobahn-js needs for its long-poll transport: as
// there, at most six connections to a host, which are kept.

import http from 'node:http';
import https from 'node:https';

const KEPT = { keepAlive: true, maxSockets: 6 };
const AGENTS = { 'http:': new http.Agent(KEPT), 'https:': new https.Agent(KEPT) };

export class XMLHttpRequest {
  readyState = 0;
  status = 0;
  statusText = '';
  responseText = '';
  timeout = 0;
  withCredentials = false;
  #headers = {};

  open(method, url) {
    this.url = new URL(url);
    this.method = method;
  }

  setRequestHeader(name, value) {
    this.#headers[name] = value;
  }

  send(body) {
    const { request } = this.url.protocol === 'https:' ? https : http;
    const headers = { ...this.#headers, 'Content-Length': Buffer.byteLength(body ?? '') };
    const agent = AGENTS[this.url.protocol];
    const sent = request(this.url, { method: this.method, headers, agent }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => {
        clearTimeout(timer);
        this.responseText = Buffer.concat(parts).toString();
        this.#end(answer.statusCode, answer.statusMessage);
      });
    });
    const timer = this.timeout && setTimeout(() => {
      sent.destroy();
      this.ontimeout?.();
    }, this.timeout);
    sent.on('error', () => {
      clearTimeout(timer);
      this.#end(0, '');
    });
    sent.end(body);
  }

  #end(status, text) {
    [this.readyState, this.status, this.statusText] = [4, status, text];
    this.onreadystatechange?.();
  }
}
