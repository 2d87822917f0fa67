// Where sessions go: to one router, or to several, which are the nodes of one cluster. With several
// the first session of a test is at another node than all further ones; see python/nodes.py.

import assert from 'node:assert/strict';

const NAMES = 'abcdefgh';

function ports(value) {
  return value.split(',').filter(Boolean).map(Number);
}

export const PORTS = ports(process.env.ROUTER_PORT ?? '8080');
/// Of routers that accept request ids which do not start at 1.
export const LENIENT_PORTS = ports(process.env.ROUTER_LENIENT_PORT ?? PORTS.join());
const ADMIN_PORTS = ports(process.env.ROUTER_ADMIN ?? '');
assert.ok(
  PORTS.length === 1 || ADMIN_PORTS.length === PORTS.length,
  'ROUTER_ADMIN has a port for each node',
);

/// The name of a peer of which there is one at each node.
export function named(name, node) {
  return PORTS.length === 1 ? name : `${name}.${NAMES[node]}`;
}

/// The node says that it has the session of this id.
async function checkIsAt(node, session) {
  if (PORTS.length === 1) return;
  const path = `/api/sessions?search=${session}&limit=1000`;
  const answer = await fetch(`http://127.0.0.1:${ADMIN_PORTS[node]}${path}`);
  const known = (await answer.json()).sessions.map((found) => String(found.session));
  assert.ok(known.includes(String(session)), `${session} is at node ${NAMES[node]}: ${known}`);
}

class Spread {
  #tests = 0;
  #taken = 0;
  #joined = [];

  /// The test of which all further sessions are.
  begin() {
    this.#tests += 1;
    this.#taken = 0;
    this.#joined = [];
  }

  /// The node for another session: the first one's changes from test to test.
  next() {
    const further = this.#taken;
    this.#taken += 1;
    const step = further ? 1 + ((further - 1) % Math.max(1, PORTS.length - 1)) : 0;
    return (this.#tests + step) % PORTS.length;
  }

  async note(node, session) {
    await checkIsAt(node, session);
    this.#joined.push(node);
  }

  /// None of the further sessions was where the first one was.
  check() {
    if (PORTS.length === 1) return;
    const nodes = this.#joined.map((node) => NAMES[node]);
    assert.ok(!nodes.slice(1).includes(nodes[0]), `the first one is not apart: ${nodes}`);
  }
}

export const spread = new Spread();
