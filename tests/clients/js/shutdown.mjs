// Joins with every cell, prints `ready` and waits for the GOODBYE of the stopping router; the
// JavaScript half of python/shutdown.py.

import { Cell } from './cell.mjs';
import { check, Report } from './check.mjs';

const report = new Report();
const joined = [];
for (const cell of Cell.all()) joined.push([cell, await cell.join()]);
// Node closes a connection that was idle for 5 s, and a router that stops takes no new one: a client
// of long-poll that has said nothing for so long cannot answer GOODBYE, and waits for ever.
const polling = joined.filter(([cell]) => cell.transport === 'longpoll');
// What fails when the session is over does not matter.
const talk = () =>
  polling.forEach(([, client]) => client.publish('com.example.here', []).catch(() => {}));
const talking = setInterval(talk, 1_000);
console.log('ready');

for (const [cell, client] of joined) {
  await report.run(`${cell.name} shutdown`, async () => {
    const reason = await client.closed;
    // wampy.js tells its application no reason.
    check(reason, cell.isWampy ? 'closed' : 'wamp.close.system_shutdown', 'reason of GOODBYE');
  });
}
clearInterval(talking);
report.close();
