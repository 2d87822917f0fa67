// Joins with every cell, prints `ready` and waits for the GOODBYE of the stopping router; the
// JavaScript half of python/shutdown.py.

import { Cell } from './cell.mjs';
import { check, Report } from './check.mjs';

const report = new Report();
const joined = [];
for (const cell of Cell.all()) joined.push([cell, await cell.join()]);
console.log('ready');

for (const [cell, client] of joined) {
  await report.run(`${cell.name} shutdown`, async () => {
    const reason = await client.closed;
    // wampy.js tells its application no reason.
    check(reason, cell.isWampy ? 'closed' : 'wamp.close.system_shutdown', 'reason of GOODBYE');
  });
}
report.close();
